"""Streams whose events amount to no answer are handed on as they came, and only to who reads them
as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from llmcache import CustomLogger
from llmcache.events import callbacks
from llmcache.upstreams.base import UpstreamRequest
from llmcache.upstreams.fake import FakeUpstream

CHUNK = b'{"id":"x","choices":[{"index":0,"delta":{"content":"Hello"}}]}'
STREAMS: dict[str, tuple[str, list[bytes]]] = {
    "no object": ("completion", [CHUNK, b"5"]),
    "no choice": ("completion", [CHUNK, b'{"choices":[5]}']),
    "no JSON": ("completion", [CHUNK, b"Hello"]),
    "no end": ("responses", [b'{"type":"response.output_text.delta","delta":"Hello"}']),
}
ASK = {
    "completion": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    "responses": {"model": "m", "input": "Hi"},
}


@pytest.fixture(params=STREAMS.values(), ids=list(STREAMS))
def streaming(
    request: pytest.FixtureRequest, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The kind of call, and the events that the provider answers it with."""
    kind, chunks = request.param

    def stream(asked: UpstreamRequest) -> Iterator[bytes]:
        upstream.calls.append(asked)
        yield from chunks

    async def astream(asked: UpstreamRequest) -> AsyncIterator[bytes]:
        for chunk in stream(asked):
            yield chunk

    monkeypatch.setattr(upstream, "stream", stream)
    monkeypatch.setattr(upstream, "astream", astream)
    return kind, chunks


def test_it_is_read_as_it_came_and_not_stored(
    door: Any, streaming: Any, upstream: FakeUpstream, counted: Any
) -> None:
    callbacks.append(CustomLogger())
    kind, chunks = streaming
    for _ in range(2):
        stream = getattr(door, kind)(**ASK[kind], stream=True)
        assert [chunk.raw for chunk in door.chunks(stream)] == chunks
        assert (stream.cache.outcome, stream.cache.stored) == ("miss", False)
        assert "format is not understood" in stream.cache.reason
    assert upstream.call_count == counted("refused") == 2


def test_a_plain_call_that_waited_for_it_asks_for_itself(
    door: Any, streaming: Any, upstream: FakeUpstream
) -> None:
    kind, chunks = streaming
    stream = getattr(door, kind)(**ASK[kind], stream=True)
    plain = getattr(door, kind)(**ASK[kind])
    assert (plain.cache.outcome, plain.cache.stored) == ("miss", True)
    assert [chunk.raw for chunk in door.chunks(stream)] == chunks
    assert upstream.call_count == 2
    assert getattr(door, kind)(**ASK[kind]).cache.hit
