"""Stores with a way to break each of them and to mend it again: what the tests and the measured
table run over.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from llmcache import caching
from tests.servers import proxy, s3
from tests.servers import redis as redis_servers
from tests.servers.ports import Missing, wait_for

REDIS = "llmcache.backends.redis.RedisBackend"
S3 = "llmcache.backends.s3.S3Backend"
DISK = "llmcache.backends.disk.DiskBackend"
HIT, MISS, ERROR = "hit", "miss", "error"


@dataclass
class Part:
    """A store that works, until it is struck.

    Attributes:
        store: what LLMCACHE["default"] is to be.
        strike: breaks it.
        mend: makes it work again.
        known: outcomes that a stored question may have meanwhile.
        new: outcomes that a new question may have.
        fails: whether the cache counts a failure.
        settings: further settings.
    """

    store: dict[str, Any]
    strike: Callable[[], object]
    mend: Callable[[], object]
    known: set[str] = field(default_factory=lambda: {ERROR})
    new: set[str] = field(default_factory=lambda: {ERROR})
    fails: bool = True
    settings: dict[str, Any] = field(default_factory=dict)


Fault = Callable[[Path], AbstractContextManager[Part]]


# --- Redis ---

_DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


def _redis(port: int) -> dict[str, Any]:
    return {"BACKEND": REDIS, "LOCATION": f"redis://127.0.0.1:{port}"}


class _Restartable:
    """A Redis that keeps its entries on disk, and comes back with them where it was."""

    def __init__(self, server: redis_servers.RedisServer) -> None:
        assert server.process is not None
        self.port = server.port
        self.process = server.process
        self.arguments = server.process.args

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self.port, self.process)

    def send(self, number: int) -> None:
        self.process.send_signal(number)


@contextmanager
def _own_redis(*arguments: str) -> Iterator[_Restartable]:
    with redis_servers.plain_server(*arguments) as server:
        own = _Restartable(server)
        try:
            yield own
        finally:
            own.kill()


@contextmanager
def redis_refuses(directory: Path) -> Iterator[Part]:
    """The server has ended; nothing listens on its port."""
    with _own_redis(*_DURABLE) as server:
        yield Part(_redis(server.port), server.kill, server.start)


@contextmanager
def redis_hangs(directory: Path) -> Iterator[Part]:
    """The server takes connections and requests and says nothing."""
    with _own_redis() as server:
        yield Part(
            _redis(server.port),
            lambda: server.send(signal.SIGSTOP),
            lambda: server.send(signal.SIGCONT),
        )


@contextmanager
def redis_is_slow(directory: Path) -> Iterator[Part]:
    """Each answer of the server takes a tenth of a second, within the time limit."""
    with _own_redis() as server, proxy.before(server.port) as network:
        yield Part(
            _redis(network.port),
            lambda: setattr(network, "delay", 0.1),
            lambda: setattr(network, "delay", 0.0),
            known={HIT},
            new={MISS},
            fails=False,
        )


@contextmanager
def redis_is_too_slow(directory: Path) -> Iterator[Part]:
    """Each answer takes ten seconds, far beyond the time limit."""
    with _own_redis() as server, proxy.before(server.port) as network:

        def mend() -> None:
            network.delay = 0.0
            network.cut_all()

        yield Part(_redis(network.port), lambda: setattr(network, "delay", 10.0), mend)


@contextmanager
def redis_flaps(directory: Path) -> Iterator[Part]:
    """Connections are cut and refused for a twentieth of a second, and taken for as long."""
    with _own_redis() as server, proxy.before(server.port) as network:
        ended = threading.Event()

        def flap() -> None:
            while not ended.wait(0.05):
                turn(not network.refuses)
            turn(False)

        def turn(refuses: bool) -> None:
            network.refuses = refuses
            if refuses:
                network.cut_all()

        thread = threading.Thread(target=flap, daemon=True)

        def mend() -> None:
            ended.set()
            thread.join()

        def strike() -> None:
            turn(True)
            thread.start()

        yield Part(
            _redis(network.port),
            strike,
            mend,
            known={HIT, MISS, ERROR},
            new={HIT, MISS, ERROR},
        )


@contextmanager
def redis_is_full(directory: Path) -> Iterator[Part]:
    """The server has no memory left, and evicts nothing: it refuses to write (`OOM`)."""
    with _own_redis() as server:
        client = redis.Redis(port=server.port)

        def limit(size: int) -> None:
            client.config_set("maxmemory", size)

        yield Part(
            _redis(server.port), lambda: limit(1), lambda: limit(0), known={HIT}, new={ERROR, MISS}
        )
        client.close()


@contextmanager
def redis_restarts(directory: Path) -> Iterator[Part]:
    """The server was killed and is back, with its entries; every connection to it is dead."""
    with _own_redis(*_DURABLE) as server:

        def restart() -> None:
            server.kill()
            server.start()

        yield Part(
            _redis(server.port), restart, lambda: None, known={HIT}, new={MISS, HIT}, fails=False
        )


@contextmanager
def redis_fails_over(directory: Path) -> Iterator[Part]:
    """The primary was killed; its address leads to a replica, which may not be written to yet."""
    with _own_redis("--repl-diskless-sync-delay", "0") as primary:
        copying = ("--replicaof", f"127.0.0.1 {primary.port}")
        with _own_redis(*copying) as replica, proxy.before(primary.port) as network:
            client = redis.Redis(port=replica.port)

            def fail_over() -> None:
                redis.Redis(port=primary.port).execute_command("WAIT", 1, 10_000)
                primary.kill()
                network.target = replica.port
                network.cut_all()

            yield Part(
                _redis(network.port),
                fail_over,
                lambda: client.execute_command("REPLICAOF", "NO", "ONE"),
                known={HIT},
                new={ERROR, MISS},
            )
            client.close()


# --- S3 ---


@contextmanager
def _s3(directory: Path) -> Iterator[tuple[proxy.Proxy, dict[str, Any]]]:
    with ExitStack() as stack:
        url = os.environ.get("LLMCACHE_TEST_S3_ENDPOINT")
        server = s3.S3Server(url) if url else stack.enter_context(s3.own_server())
        network = stack.enter_context(proxy.before(urlsplit(server.endpoint_url).port or 0))
        options = {**server.options, "endpoint_url": f"http://127.0.0.1:{network.port}"}
        location = f"s3://{server.bucket}/{directory.name}-{os.urandom(4).hex()}"
        store = {"BACKEND": S3, "LOCATION": location, "OPTIONS": {**options, "timeout": 0.5}}
        yield network, store


@contextmanager
def s3_fails(directory: Path) -> Iterator[Part]:
    """S3 answers every request with the status 500."""
    with _s3(directory) as (network, store):
        yield Part(
            store,
            lambda: setattr(network, "fails", True),
            lambda: setattr(network, "fails", False),
        )


@contextmanager
def s3_is_too_slow(directory: Path) -> Iterator[Part]:
    """S3 answers after ten seconds, far beyond the time limit."""
    with _s3(directory) as (network, store):

        def mend() -> None:
            network.delay = 0.0
            network.cut_all()

        yield Part(store, lambda: setattr(network, "delay", 10.0), mend)


@contextmanager
def s3_cuts_bodies(directory: Path) -> Iterator[Part]:
    """S3's answers end in the middle of their bodies."""
    with _s3(directory) as (network, store):

        def strike() -> None:
            network.cut_after = 2000
            network.cut_all()

        def mend() -> None:
            network.cut_after = None
            network.cut_all()

        # What has no body that could be cut is as ever.
        yield Part(store, strike, mend, known={ERROR, MISS}, new={ERROR, MISS, HIT})


# --- disk ---


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


FAULTS: dict[str, Fault] = {
    "redis refuses": redis_refuses,
    "redis hangs": redis_hangs,
    "redis is slow": redis_is_slow,
    "redis is too slow": redis_is_too_slow,
    "redis flaps": redis_flaps,
    "redis is full": redis_is_full,
    "redis restarts": redis_restarts,
    "redis fails over": redis_fails_over,
    "s3 fails": s3_fails,
    "s3 is too slow": s3_is_too_slow,
    "s3 cuts bodies": s3_cuts_bodies,
    "disk is full": disk_is_full,
    "disk is read-only": disk_is_read_only,
    "disk is locked": disk_is_locked,
}
