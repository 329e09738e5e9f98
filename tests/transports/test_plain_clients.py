"""The transports under plain clients of httpx and httpx2: bodies, streams and what goes through."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import orjson
import pytest

import llmcache.httpx
import llmcache.httpx2
from llmcache.exceptions import InvalidRequest
from tests.servers.provider import CHAT, Provider, answer, delta, events, stream

ASKED = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


class Client:
    """A sync or an async client of one of the libraries, called in one way."""

    def __init__(self, library: Any, ours: Any, is_async: bool) -> None:
        self.library = library
        self.is_async = is_async
        self._runner = asyncio.Runner() if is_async else None
        self.client = (ours.async_client if is_async else ours.client)()

    def post(self, url: str, **options: Any) -> Any:
        sent = self.client.post(url, **options)
        return self._runner.run(sent) if self._runner else sent

    def get(self, url: str) -> Any:
        sent = self.client.get(url)
        return self._runner.run(sent) if self._runner else sent

    def pieces(self, url: str, body: Any, arrived: threading.Event) -> list[bytes]:
        """The pieces of a streamed answer; the event is set when the first has arrived."""
        found = []
        if self._runner is None:
            with self.client.stream("POST", url, json=body) as response:
                for piece in response.iter_raw():
                    found.append(piece)
                    arrived.set()
            return found

        async def read() -> list[bytes]:
            async with self.client.stream("POST", url, json=body) as response:
                async for piece in response.aiter_raw():
                    found.append(piece)
                    arrived.set()
            return found

        return self._runner.run(read())

    def close(self) -> None:
        if self._runner is None:
            self.client.close()
            return
        self._runner.run(self.client.aclose())
        self._runner.close()


@pytest.fixture(params=["httpx", "httpx2", "httpx-async", "httpx2-async"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """Each kind of client in turn."""
    name, _, twin = request.param.partition("-")
    library, ours = (httpx, llmcache.httpx) if name == "httpx" else (httpx2, llmcache.httpx2)
    made = Client(library, ours, twin == "async")
    yield made
    made.close()


@pytest.fixture
def url(provider: Provider) -> str:
    """Where chats are asked for."""
    return f"{provider.base_url}/chat/completions"


def test_a_call_is_cached(client: Client, provider: Provider, url: str) -> None:
    found = [client.post(url, json=ASKED) for _ in range(2)]
    assert [one.json() for one in found] == [CHAT, CHAT]
    assert [one.headers["x-llmcache-outcome"] for one in found] == ["miss", "hit"]
    assert len(provider.requests) == 1


def test_a_compressed_answer_is_handed_on_readable(
    client: Client, provider: Provider, url: str
) -> None:
    squeezed = gzip.compress(orjson.dumps(CHAT))
    provider.script(answer(squeezed, headers={"content-encoding": "gzip"}))
    assert [client.post(url, json=ASKED).json() for _ in range(2)] == [CHAT, CHAT]


def test_the_first_event_arrives_before_the_last_is_made(
    client: Client, provider: Provider, url: str
) -> None:
    arrived, waited = threading.Event(), []
    hello = events(delta("Hel"), delta("lo"), delta(finish_reason="stop"))

    def slowly() -> Iterator[bytes]:
        yield hello[0]
        waited.append(arrived.wait(10))
        yield from hello[1:]

    provider.script(stream(slowly()))
    pieces = client.pieces(url, {**ASKED, "stream": True}, arrived)
    assert waited == [True]
    assert b"".join(pieces) == b"".join(hello)
    replayed = client.pieces(url, {**ASKED, "stream": True}, arrived)
    assert b"".join(replayed) == b"".join(hello)
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"json": {"input": "x"}}, "/moderations"),
        ({"json": {"model": "m"}}, "/chat/completions"),
        ({"json": {**ASKED, "stream": "yes"}}, "/chat/completions"),
        ({"content": b"no json"}, "/chat/completions"),
        ({"content": b"[1]"}, "/chat/completions"),
        ({"content": b"\x00", "headers": {"content-encoding": "zstd"}}, "/chat/completions"),
        ({"content": b"x", "headers": {"content-type": "audio/wav"}}, "/audio/transcriptions"),
        ({"json": ASKED}, "/chat/completions/abc"),
        ({"json": ASKED}, "/batches"),
    ],
)
def test_what_is_not_understood_goes_through_byte_for_byte(
    client: Client, provider: Provider, options: dict[str, Any], path: str
) -> None:
    bodies = []
    for _ in range(2):
        found = client.post(provider.base_url + path, **options)
        assert "x-llmcache-outcome" not in found.headers
        bodies.append(found.content)
    assert bodies == [orjson.dumps(CHAT)] * 2
    assert len(provider.requests) == 2
    if "content" in options:
        assert provider.requests[0].body == options["content"]


def test_reading_goes_through(client: Client, provider: Provider) -> None:
    assert client.get(f"{provider.base_url}/chat/completions").status_code == 501


def test_a_transport_of_ones_own_is_wrapped(provider: Provider, url: str) -> None:
    sent = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json=CHAT)

    transport = llmcache.httpx.CacheTransport(httpx.MockTransport(handle))
    with httpx.Client(transport=transport) as made:
        for _ in range(2):
            assert made.post(url, json=ASKED).json() == CHAT
    assert len(sent) == 1
    assert repr(transport) == "<CacheTransport over MockTransport>"


def test_options_of_the_own_transport_need_it() -> None:
    wrapped = httpx.MockTransport(lambda request: httpx.Response(200))
    with pytest.raises(InvalidRequest, match="has a transport already: give verify to that one"):
        llmcache.httpx.CacheTransport(wrapped, verify=False)


def test_closing_a_client_closes_the_wrapped_transport() -> None:
    closed = []

    class Noting(httpx.MockTransport):
        def close(self) -> None:
            closed.append(True)

    wrapped = Noting(lambda request: httpx.Response(200))
    with httpx.Client(transport=llmcache.httpx.CacheTransport(wrapped)):
        pass
    assert closed == [True]
