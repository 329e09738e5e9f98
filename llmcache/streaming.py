"""What callers of `stream=True` get: an iterator of chunks, sync or async, with `cache` beside
it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from itertools import repeat
from types import TracebackType

from llmcache.outcome import CacheInfo
from llmcache.response import Response
from llmcache.streams import is_usage_chunk


class Stream(Iterator[Response]):
    """The chunks of an answer, recorded or live. Close it, or read it to its end.

    Attributes:
        cache: where the answer comes from; its usage is known once the stream has been read.
        has_other_readers: tells whether other callers read the same live answer just now.
    """

    def __init__(
        self,
        events: Generator[bytes, None, None],
        cache: CacheInfo,
        *,
        hide_usage: bool,
        has_other_readers: Callable[[], bool] = lambda: False,
    ) -> None:
        self._events = events
        self._hide_usage = hide_usage
        self.has_other_readers = has_other_readers
        self.cache = cache

    def __next__(self) -> Response:
        raw = next(self._events)
        while self._hide_usage and is_usage_chunk(raw):
            raw = next(self._events)
        return Response(raw, self.cache)

    def raw_events(self) -> Iterator[bytes]:
        """Each chunk's JSON as the provider sent it, unparsed, for those who only pass it on."""
        for raw in self._events:
            if not (self._hide_usage and is_usage_chunk(raw)):
                yield raw

    def close(self) -> None:
        """Stop reading; what was read so far of a live stream is not stored."""
        self._events.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Recorded(Stream):
    """The chunks of an answer that is here as a whole: each costs little more than its own making.

    Args:
        chunks: each one's JSON, as far as the caller wants them.
    """

    def __init__(self, chunks: Sequence[bytes], cache: CacheInfo) -> None:
        self._left = iter(chunks)
        self.cache = cache
        self.has_other_readers = lambda: False

    def __next__(self) -> Response:
        return Response(next(self._left), self.cache)

    def __iter__(self) -> Iterator[Response]:
        return map(Response, self._left, repeat(self.cache))

    def raw_events(self) -> Iterator[bytes]:
        return self._left

    def close(self) -> None:
        for _ in self._left:  # whoever iterates over it just now finds its end
            pass


class AsyncStream(AsyncIterator[Response]):
    """As `Stream`, for `async for`."""

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        cache: CacheInfo,
        *,
        hide_usage: bool,
        has_other_readers: Callable[[], bool] = lambda: False,
    ) -> None:
        self._events = events
        self._hide_usage = hide_usage
        self.has_other_readers = has_other_readers
        self.cache = cache

    async def __anext__(self) -> Response:
        raw = await anext(self._events)
        while self._hide_usage and is_usage_chunk(raw):
            raw = await anext(self._events)
        return Response(raw, self.cache)

    async def raw_events(self) -> AsyncIterator[bytes]:
        """As `Stream.raw_events`."""
        async for raw in self._events:
            if not (self._hide_usage and is_usage_chunk(raw)):
                yield raw

    async def aclose(self) -> None:
        """As `Stream.close`."""
        await self._events.aclose()

    close = aclose

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class AsyncRecorded(AsyncStream):
    """As `Recorded`, for `async for`."""

    def __init__(self, chunks: Sequence[bytes], cache: CacheInfo) -> None:
        self._left = iter(chunks)
        self.cache = cache
        self.has_other_readers = lambda: False

    async def __anext__(self) -> Response:
        for raw in self._left:
            return Response(raw, self.cache)
        raise StopAsyncIteration

    async def raw_events(self) -> AsyncIterator[bytes]:
        for raw in self._left:
            yield raw

    async def aclose(self) -> None:
        for _ in self._left:
            pass

    close = aclose
