"""The async transport: `sync`, step by step, with awaits. See there for why each step is as it
is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, ClassVar

from llmcache import aclient
from llmcache.exceptions import InvalidRequest, NotCached, UpstreamError
from llmcache.http import event_stream
from llmcache.outcome import HIT, STALE
from llmcache.response import Response
from llmcache.singleflight import Unshared
from llmcache.streaming import AsyncStream
from llmcache.transports import replies
from llmcache.transports.base import CachingTransport, can_be_read_again
from llmcache.transports.upstream import RequestUpstream


class AsyncTransport(CachingTransport):
    """`handle_async_request` and what belongs to it.

    Attributes:
        stream_class: `AsyncPieces` as a byte stream of the library.
    """

    is_async = True
    stream_class: ClassVar[Any]

    async def _handle(self, request: Any) -> Any:
        place = self._place(request)
        body = None if place is None else await _body_of(self.library, request)
        asked = None if place is None or body is None else self._read(place, body)
        if asked is None:
            return await self._transport.handle_async_request(self._unread(request, place))
        plan, upstream = self._plan(request, asked)
        try:
            answer = await aclient.carry_out(plan)
            if isinstance(answer, Response):
                return self._whole(asked, answer, upstream)
            stream = await self._stream(answer, plan.call.kind, upstream)
            return self._streamed(answer, upstream, stream)
        except NotCached as error:
            return replies.not_cached(self.library, error)
        except UpstreamError as error:
            return self._failed(error, upstream)
        except self.library.RequestError:
            raise
        except Exception as error:
            passed = self._passed(upstream)
            if passed is not None:
                return passed
            if upstream.is_asked or plan.route.upstream is not upstream:
                raise  # it has been sent, or somebody stands between who must be heard
            if not isinstance(error, (InvalidRequest, Unshared)):
                self._own_failure(error)
        return await self._transport.handle_async_request(self._unread(request, place))

    async def _stream(self, answer: AsyncStream, kind: str, upstream: RequestUpstream) -> Any:
        if answer.cache.outcome in (HIT, STALE):
            frames = event_stream.aframes(kind, answer.raw_events())
            return self.library.ByteStream(b"".join([frame async for frame in frames]))
        return self.stream_class(self.library, answer, kind, upstream)

    async def aclose(self) -> None:
        """Close the transport below."""
        await self._transport.aclose()

    async def __aenter__(self) -> Any:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await self._transport.__aexit__(*exception)


async def _body_of(library: Any, request: Any) -> bytes | None:
    try:
        body: bytes = request.content
    except library.RequestNotRead:
        return await request.aread() if can_be_read_again(library, request.stream) else None
    return body


class AsyncPieces:
    """A live answer as the bytes that travel, event by event."""

    def __init__(
        self, library: Any, answer: AsyncStream, kind: str, upstream: RequestUpstream
    ) -> None:
        self._library = library
        self._answer = answer
        self._kind = kind
        self._upstream = upstream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for frame in event_stream.aframes(self._kind, self._answer.raw_events()):
                yield frame
        except UpstreamError as error:
            told = replies.end_of_broken(self._library, self._kind, error)
            if told:
                yield told

    async def aclose(self) -> None:
        """As `Pieces.close`."""
        # Some clients leave at the event that ends the answer; and others may still need the
        # connection, which is this client's.
        if self._upstream.is_complete or self._answer.has_other_readers():
            with suppress(UpstreamError):
                async for _ in self._answer.raw_events():
                    pass
        await self._answer.aclose()
        await self._upstream.aclose()
