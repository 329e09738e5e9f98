"""A directory on a file system that is full or read-only, or that another program has locked."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmcache import caching
from tests.faults.parts import ERROR, HIT, MISS, Part
from tests.servers.ports import Missing

DISK = "llmcache.backends.disk.DiskBackend"


def _disk(place: Path) -> dict[str, Any]:
    return {"BACKEND": DISK, "LOCATION": str(place)}


@contextmanager
def _tmpfs(place: Path, size: str) -> Iterator[Path]:
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        raise Missing("only root may mount a file system here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _close_store() -> None:
    store = caching.for_alias("default")
    assert store is not None
    store.close()


@contextmanager
def disk_is_full(directory: Path) -> Iterator[Part]:
    """The store's file system has no byte left."""
    with _tmpfs(directory / "full", "4m") as place:
        ballast = place / "ballast"

        def fill() -> None:
            with ballast.open("wb", buffering=0) as file:
                try:
                    while file.write(bytes(4096)):
                        pass
                except OSError:
                    pass

        yield Part(
            _disk(place / "entries"), fill, ballast.unlink, known={HIT}, new={ERROR, MISS, HIT}
        )


@contextmanager
def disk_is_read_only(directory: Path) -> Iterator[Part]:
    """The store's file system can be read, and not written to."""
    with _tmpfs(directory / "read-only", "16m") as place:
        # A file system with open files cannot be made read-only: one that is lies on top of it,
        # and the site starts anew.
        def run(*command: str) -> None:
            subprocess.run([*command, str(place)], check=True)

        def strike() -> None:
            _close_store()
            run("mount", "--bind", str(place))
            run("mount", "-o", "remount,bind,ro")

        def mend() -> None:
            _close_store()
            run("umount", "--lazy")

        entries = place / "entries"
        yield Part(
            _disk(entries),
            strike,
            mend,
            known={HIT, ERROR},
            new={ERROR, MISS},
        )


@contextmanager
def disk_is_locked(directory: Path) -> Iterator[Part]:
    """Another program holds the lock of the store's database, and does not give it up."""
    entries = directory / "locked"
    holders: list[sqlite3.Connection] = []

    def lock() -> None:
        holder = sqlite3.connect(entries / "cache.db", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        holders.append(holder)

    def unlock() -> None:
        holder = holders.pop()
        holder.execute("ROLLBACK")
        holder.close()

    store = {**_disk(entries), "OPTIONS": {"timeout": 0.2}}
    yield Part(store, lock, unlock, known={HIT}, new={ERROR, MISS})
