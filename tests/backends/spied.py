"""Layers for tests of a layered store: they tell what is done to them and fail if told to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from llmcache.backends.base import Item
from llmcache.backends.disk import DiskBackend
from llmcache.backends.layered import LayeredBackend
from llmcache.backends.memory import MemoryBackend
from llmcache.conf import BackendSettings
from llmcache.envelope import seal

A, B, C = (sha256(name).hexdigest() for name in (b"a", b"b", b"c"))


def sealed(digest: str, payload: bytes = b"answer", ttl: float = 60) -> bytes:
    now = time.time()
    return seal(digest, payload, created=now, expires=now + ttl)


class Spied(MemoryBackend):
    """A store in memory that tells what is done to it, calls hooks on the way, fails if told to,
    and counts as shared by processes.
    """

    process_local = False

    def __init__(self, alias: str, log: list[tuple[str, str]]) -> None:
        super().__init__(BackendSettings(alias=alias))
        self.log = log
        self.failing = False
        self.asked: list[list[str]] = []
        self.hooks: dict[str, Callable[[], None]] = {}

    def _note(self, what: str) -> None:
        self.log.append((self.alias, what))
        if self.failing:
            raise ConnectionError("down")

    def _then(self, what: str) -> None:
        hook = self.hooks.pop(what, None)
        if hook is not None:
            hook()

    def get(self, digest: str) -> bytes | None:
        self._note("get")
        data = super().get(digest)
        self._then("get")
        return data

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        self.asked.append(list(digests))
        self._note("get_many")
        found = {name: data for name in self.asked[-1] if (data := super(Spied, self).get(name))}
        self._then("get")
        return found

    def set_many(self, items: Iterable[Item]) -> None:
        self._note("set")
        super().set_many(items)
        self._then("set")

    def delete_many(self, digests: Iterable[str]) -> int:
        self._note("delete")
        return super().delete_many(digests)

    def touch(self, digest: str, ttl: float | None) -> bool:
        self._note("touch")
        return super().touch(digest, ttl)

    def clear(self) -> int:
        self._note("clear")
        return super().clear()


class Three:
    """Three spied layers under one layered store."""

    def __init__(self, door: Any) -> None:
        self.log: list[tuple[str, str]] = []
        self.layers = tuple(Spied(alias, self.log) for alias in ("top", "middle", "bottom"))
        self.top, self.middle, self.bottom = self.layers
        self.backend = LayeredBackend.over(self.layers)
        self.store = door(self.backend)

    def fail(self, *layers: Spied) -> None:
        for layer in layers:
            layer.failing = True

    def has(self, digest: str) -> list[bool]:
        """Which layers have an entry, from the top."""
        return [MemoryBackend.get(layer, digest) is not None for layer in self.layers]


def disk(place: Path, alias: str = "disk") -> DiskBackend:
    return DiskBackend(BackendSettings(alias=alias, location=str(place)))
