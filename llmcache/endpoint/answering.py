"""From an answer to an HTTP response: whole, streamed as it arrives, or plain text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import orjson
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from llmcache.afetching import in_any_case
from llmcache.calls import Call
from llmcache.endpoint import errors
from llmcache.exceptions import UpstreamError
from llmcache.http import cache_status, event_stream
from llmcache.http.requests import text_format
from llmcache.outcome import CacheInfo
from llmcache.response import Response
from llmcache.streaming import AsyncStream, Stream

Ended = Callable[[CacheInfo, int | None], Any]
"""Called once a stream is over, with where it came from and, if it was left or broke off before its
end, how many events had come.
"""
_NOT_HELD_BACK: Final = {"X-Accel-Buffering": "no"}
"""For nginx, which would collect a stream before it passes it on."""


def whole(call: Call, answer: Response) -> HttpResponseBase:
    """An answer that is no stream."""
    content, kind = answer.raw, "application/json"
    plain = text_format(call.params) if call.kind == "transcription" else None
    if plain is not None:
        content, kind = str(orjson.loads(content).get("text", "")).encode(), plain
    headers = cache_status.headers_for(answer.cache)
    return HttpResponse(content, content_type=kind, headers=headers)


def streamed(call: Call, answer: Stream, ended: Ended) -> HttpResponseBase:
    """A stream's events, each passed on when it arrives."""
    content = _events(call.kind, answer, ended)
    return _stream(content, answer.cache)


def astreamed(call: Call, answer: AsyncStream, ended: Ended) -> HttpResponseBase:
    """As `streamed`; `ended` gives something to await."""
    content = _aevents(call.kind, answer, ended)
    return _stream(content, answer.cache)


def _stream(content: Any, info: CacheInfo) -> HttpResponseBase:
    kind = event_stream.CONTENT_TYPE
    headers = {**_NOT_HELD_BACK, **cache_status.headers_for(info)}
    return StreamingHttpResponse(content, content_type=kind, headers=headers)


def _events(kind: str, answer: Stream, ended: Ended) -> Iterator[bytes]:
    number: int | None = 0

    def counted() -> Iterator[bytes]:
        nonlocal number
        for event in answer.raw_events():
            number = (number or 0) + 1
            yield event

    with answer:
        try:
            yield from event_stream.frames(kind, counted())
            number = None
        except UpstreamError as error:
            yield _broken(kind, error)
        finally:
            ended(answer.cache, number)


async def _aevents(kind: str, answer: AsyncStream, ended: Ended) -> AsyncIterator[bytes]:
    number: int | None = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal number
        async for event in answer.raw_events():
            number = (number or 0) + 1
            yield event

    async with answer:
        try:
            async for piece in event_stream.aframes(kind, counted()):
                yield piece
            number = None
        except UpstreamError as error:
            yield _broken(kind, error)
        finally:
            await in_any_case(ended(answer.cache, number))


def _broken(kind: str, error: UpstreamError) -> bytes:
    """The last event of a stream that broke off. Nothing follows it: no end is pretended."""
    body = errors.body_of(errors.of_upstream(error), anthropic=kind == "messages")
    data = orjson.dumps(body)
    if kind == "completion":
        return b"data: %s\n\n" % data
    return b"event: error\ndata: %s\n\n" % data
