"""A Redis that is gone, hangs, is slow, full, restarted, or replaced by its replica."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from tests.faults.parts import ERROR, HIT, MISS, Part
from tests.servers import proxy
from tests.servers import redis as redis_servers
from tests.servers.ports import wait_for

REDIS = "llmcache.backends.redis.RedisBackend"
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
        with redis.Redis(port=self.port) as client:
            while True:  # it listens before it has read its entries
                with suppress(redis.exceptions.BusyLoadingError):
                    client.ping()
                    return

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
