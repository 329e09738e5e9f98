"""The sync transport. `asynchronous` is its twin; the tests hold the two to the same cases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar

from llmcache import client
from llmcache.exceptions import InvalidRequest, NotCached, UpstreamError
from llmcache.http import event_stream
from llmcache.outcome import HIT, STALE
from llmcache.response import Response
from llmcache.singleflight import Unshared
from llmcache.streaming import Stream
from llmcache.transports import replies
from llmcache.transports.base import CachingTransport, can_be_read_again
from llmcache.transports.upstream import RequestUpstream


class SyncTransport(CachingTransport):
    """`handle_request` and what belongs to it.

    Attributes:
        stream_class: `Pieces` as a byte stream of the library.
    """

    is_async = False
    stream_class: ClassVar[Any]

    def _handle(self, request: Any) -> Any:
        place = self._place(request)
        body = None if place is None else _body_of(self.library, request)
        asked = None if place is None or body is None else self._read(place, body)
        if asked is None:
            return self._transport.handle_request(self._unread(request, place))
        plan, upstream = self._plan(request, asked)
        try:
            answer = client.carry_out(plan)
            if isinstance(answer, Response):
                return self._whole(asked, answer, upstream)
            return self._streamed(answer, upstream, self._stream(answer, plan.call.kind, upstream))
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
        return self._transport.handle_request(self._unread(request, place))

    def _stream(self, answer: Stream, kind: str, upstream: RequestUpstream) -> Any:
        if answer.cache.outcome in (HIT, STALE):
            frames = event_stream.frames(kind, answer.raw_events())
            return self.library.ByteStream(b"".join(frames))
        return self.stream_class(self.library, answer, kind, upstream)

    def close(self) -> None:
        """Close the transport below."""
        self._transport.close()

    def __enter__(self) -> Any:
        self._transport.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._transport.__exit__(*exception)


def _body_of(library: Any, request: Any) -> bytes | None:
    """A request's body; None if it can be read only once."""
    try:
        body: bytes = request.content
    except library.RequestNotRead:
        return request.read() if can_be_read_again(library, request.stream) else None
    return body


class Pieces:
    """A live answer as the bytes that travel, event by event."""

    def __init__(self, library: Any, answer: Stream, kind: str, upstream: RequestUpstream) -> None:
        self._library = library
        self._answer = answer
        self._kind = kind
        self._upstream = upstream

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from event_stream.frames(self._kind, self._answer.raw_events())
        except UpstreamError as error:
            told = replies.end_of_broken(self._library, self._kind, error)
            if told:
                yield told

    def close(self) -> None:
        """Stop: the provider's connection is closed, and only a whole answer is stored."""
        # Some clients leave at the event that ends the answer; and others may still need the
        # connection, which is this client's.
        if self._upstream.is_complete or self._answer.has_other_readers():
            with suppress(UpstreamError):
                for _ in self._answer.raw_events():
                    pass
        self._answer.close()
        self._upstream.close()
