"""Reads that go past redis-py's pool: the right answer to each, whatever happens to the server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from llmcache.backends.redis_areads import _parsed
from llmcache.backends.redis_connections import Connections
from tests.backends.stores import unique
from tests.servers import tls
from tests.servers.redis import RedisServer, plain_server

Read = Callable[[str], bytes | None]


@pytest.fixture
def connections(redis_server: RedisServer) -> Iterator[Connections]:
    opened = Connections([redis_server.url], 5.0, {})
    yield opened
    opened.close()


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Iterator[Callable[[Connections], Read]]:
    """How to read over some connections: from this thread, or from one event loop."""
    if request.param == "sync":
        yield lambda connections: connections.get
        return
    with asyncio.Runner() as runner:
        yield lambda connections: lambda key: runner.run(connections.aget(key))


def test_values_come_as_they_are(connections: Connections, way: Any) -> None:
    read, key = way(connections), unique()
    assert read(key) is None
    for value in (b"", b"\r\n", b"$3\r\nabc\r\n", b"-ERR no\r\n", os.urandom(300_000)):
        connections.primary.set(key, value)
        assert read(key) == value
        assert read(key + "-other") is None
    connections.primary.set(key + "\u00e9\r\n", b"1")
    assert read(key + "\u00e9\r\n") == b"1"


def test_a_connection_serves_read_after_read(connections: Connections, way: Any) -> None:
    read = way(connections)
    read("x")
    before = connections.primary.info("stats")["total_connections_received"]
    for _ in range(50):
        read("x")
    assert connections.primary.info("stats")["total_connections_received"] == before


def test_each_of_many_readers_gets_its_own_value(connections: Connections) -> None:
    names = [f"{unique()}-{number}" for number in range(500)]
    for number, name in enumerate(names):
        if number % 3:
            connections.primary.set(name, name.encode() * (1 + number % 400))
    wanted = [name.encode() * (1 + n % 400) if n % 3 else None for n, name in enumerate(names)]

    async def together() -> list[bytes | None]:
        return await asyncio.gather(*map(connections.aget, names))

    assert asyncio.run(together()) == wanted
    found: list[list[bytes | None]] = []
    threads = [
        threading.Thread(target=lambda: found.append([connections.get(name) for name in names]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 8


def test_all_tasks_of_a_loop_share_one_connection(connections: Connections) -> None:
    def opened() -> int:
        return int(connections.primary.info("stats")["total_connections_received"])  # type: ignore[index]

    opened()
    before = opened()

    async def together() -> None:
        await asyncio.gather(*(connections.aget("x") for _ in range(200)))

    asyncio.run(together())
    assert opened() == before + 1


def test_who_goes_away_shifts_nobody_elses_answer(connections: Connections) -> None:
    names = [f"{unique()}-{number}" for number in range(100)]
    for name in names:
        connections.primary.set(name, name.encode())

    async def some_leave() -> list[Any]:
        tasks = [asyncio.create_task(connections.aget(name)) for name in names]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    for number, found in enumerate(asyncio.run(some_leave())):
        if number % 3:
            assert found == names[number].encode()
        else:
            assert isinstance(found, asyncio.CancelledError)


@pytest.mark.parametrize("options", [{"protocol": 3}, {"socket_timeout": None}])
def test_values_come_by_the_newer_protocol_and_without_a_time_limit(
    redis_server: RedisServer, way: Any, options: dict[str, Any]
) -> None:
    connections = Connections([redis_server.url], 5.0, options)
    read, key = way(connections), unique()
    for value in (b"1", b"\r\n", os.urandom(300_000)):
        connections.primary.set(key, value)
        assert [read(key), read(key + "-other")] == [value, None]
    connections.primary.delete(key)
    connections.primary.rpush(key, "a list")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        read(key)
    connections.close()


def test_an_error_of_the_server_is_that_readers_alone(connections: Connections, way: Any) -> None:
    read, key = way(connections), unique()
    connections.primary.rpush(key, "a list")
    connections.primary.set(key + "-good", b"1")
    for _ in range(3):
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            read(key)
        assert read(key + "-good") == b"1"


def test_a_connection_that_was_cut_is_opened_anew(connections: Connections, way: Any) -> None:
    read, key = way(connections), unique()
    connections.primary.set(key, b"1")
    for _ in range(3):
        assert read(key) == b"1"
        connections.primary.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert read(key) == b"1"


def test_a_late_answer_is_nobody_elses(own_redis: RedisServer, way: Any) -> None:
    connections = Connections([own_redis.url], 0.3, {})
    connections.primary.mset({"a": "1", "b": "2"})
    read = way(connections)
    assert read("a") == b"1"
    assert own_redis.process is not None
    own_redis.process.send_signal(signal.SIGSTOP)
    with pytest.raises(redis.TimeoutError):
        read("a")
    own_redis.process.send_signal(signal.SIGCONT)
    assert [read("b"), read("a")] == [b"2", b"1"]
    connections.close()


def test_a_server_that_is_no_redis_is_an_error(way: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            while True:
                try:
                    peer = listener.accept()[0]
                except OSError:
                    return
                with peer:
                    while peer.recv(65536):
                        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
        connections = Connections([url], 0.5, {})
        with pytest.raises((redis.RedisError, OSError)):
            way(connections)("a")
        connections.close()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.parametrize(
    ("said", "readers"),
    [(b"*1\r\n$1\r\nx\r\n", 3), (b"$one\r\n", 3), (b"$1\r\nb\r\n$1\r\nx\r\n", 1)],
)
def test_what_is_no_answer_is_nobodys_answer(said: bytes, readers: int) -> None:
    with answering(iter([b"$1\r\n1\r\n", said])) as url, asyncio.Runner() as runner:
        connections = Connections([url], 5.0, {})

        async def together() -> list[Any]:
            asked = (connections.aget("b") for _ in range(readers))
            return await asyncio.gather(*asked, return_exceptions=True)

        assert runner.run(connections.aget("a")) == b"1"
        found = runner.run(together())
        assert all(isinstance(one, redis.InvalidResponse) or one == b"b" for one in found)
        assert runner.run(connections.aget("c")) == b"c"  # by another connection
        runner.run(connections.aclose())


@contextmanager
def answering(replies: Iterator[bytes]) -> Iterator[str]:
    """A server that takes all commands for done; GET is answered by these replies and, when there
    are no more, by the key.
    """

    class Talk(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while count := self.rfile.readline():
                lines = [self.rfile.readline() for _ in range(2 * int(count[1:]))]
                words = [line.strip() for line in lines[1::2]]
                usual = b"+OK\r\n"
                if words[0] == b"GET":
                    usual = next(replies, b"$1\r\n" + words[1] + b"\r\n")
                self.wfile.write(usual)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("more", [{"max_connections": 3}, {"encoding": "latin-1"}])
def test_options_that_redis_pys_pool_must_see_leave_reading_to_it(
    redis_server: RedisServer, more: dict[str, Any]
) -> None:
    connections = Connections([redis_server.url], 5.0, more)
    key = unique()
    connections.primary.set(key, b"1")
    assert not connections.has_reads
    assert [connections.get(key) for _ in range(3)] == [b"1"] * 3
    connections.close()


@pytest.fixture(params=["password", "socket", "tls"])
def guarded(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    """The URL and the options of a server that is not reached by an address alone."""
    kind = request.param
    with tempfile.TemporaryDirectory() as short:  # a socket's path may have 107 characters
        here = Path(short)
        with plain_server("--requirepass", "p/w", "--unixsocket", f"{here}/redis") as server:
            if kind == "password":
                yield f"redis://:p%2Fw@127.0.0.1:{server.port}/3", {"client_name": "reader"}
            elif kind == "socket":
                yield f"unix://:p%2Fw@{here}/redis?db=3", {}
            else:
                files = tls.make_certificate(here)
                with tls.in_front_of(server.port, *files) as port:
                    yield f"rediss://:p%2Fw@127.0.0.1:{port}/3", {"ssl_ca_certs": str(files[0])}


def test_connections_are_made_ready_as_redis_py_does(guarded: Any, way: Any) -> None:
    url, options = guarded
    connections = Connections([url], 5.0, options)
    assert connections._reads
    connections.primary.set("a", b"1" * 100_000)
    read = way(connections)
    for _ in range(3):
        assert read("a") == b"1" * 100_000
        assert read("b") is None
    connections.close()


@given(st.lists(st.none() | st.binary(max_size=30), max_size=6), st.data())
def test_replies_are_read_however_they_are_cut(values: list[bytes | None], data: Any) -> None:
    sent = b"".join(b"$-1\r\n" if v is None else b"$%d\r\n%b\r\n" % (len(v), v) for v in values)
    cut = data.draw(st.integers(0, len(sent)))
    received, found, start = bytearray(), [], 0
    for part in (sent[:cut], sent[cut:]):
        received += part
        while True:
            reply, after = _parsed(received, start)
            if not after:
                break
            found.append(reply)
            start = after
    assert found == values
    assert start == len(sent)
