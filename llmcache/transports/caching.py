"""The transports themselves, sync and async, over whichever HTTP library they are mixed with.

A request that is not known to be safe to cache goes through untouched. What the cache itself does
wrong is a miss; what the provider says, errors included, reaches the SDK as it was said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, ClassVar

import orjson

from llmcache import aclient, caching, client, engine, state
from llmcache.caching import Cache
from llmcache.controls import parse
from llmcache.exceptions import NotCached, UpstreamError
from llmcache.http import cache_status, event_stream
from llmcache.http.requests import kind_of, text_format
from llmcache.response import Response
from llmcache.streaming import AsyncStream, Stream
from llmcache.transports import exchange, reading
from llmcache.transports.reading import FROM_CREDENTIALS
from llmcache.transports.upstream import TransportUpstream
from llmcache.upstreams import Route, upstreams

_JSON = (b"content-type", b"application/json")


class _Caching:
    """What both transports have in common: no I/O.

    Args:
        transport: what sends the requests; the library's own if not given.
        using: the alias of LLMCACHE; otherwise `llmcache.cache`, whatever it is at the time.
        cache: cache controls for every call, such as {"ttl": 60, "tags": ["help"]}.
        account: whose entries they are. By default each account, told by its credentials, has its
            own; a name is shared by all that give it; None shares them with the calls of
            `llmcache.completion()` and its siblings to the same base_url.
        stream_usage: ask for the usage of streams, which the SDK need not see; False for servers
            that refuse to be asked.
        options: for the library's own transport: `proxy`, `verify`, `limits` and so on.

    Raises:
        InvalidRequest: a wrong control, or no such alias.
    """

    library: ClassVar[Any]
    is_async: ClassVar[bool]

    def __init__(
        self,
        transport: Any = None,
        *,
        using: str | None = None,
        cache: Mapping[str, object] | None = None,
        account: str | None = FROM_CREDENTIALS,
        stream_usage: bool = True,
        **options: Any,
    ) -> None:
        if transport is not None and options:
            raise TypeError(f"{next(iter(options))} is an option of the transport that is given")
        self._transport = self._own_transport(**options) if transport is None else transport
        self._using = using
        self._cache = dict(cache or {})
        self._controls = parse(cache)
        self._account = account
        self._stream_usage = stream_usage

    def _own_transport(self, **options: Any) -> Any:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {type(self._transport).__name__}>"

    def _store(self) -> Cache | None:
        return state.current() if self._using is None else caching.for_alias(self._using)

    def _plan(self, request: Any, kind: str, base: str) -> tuple[engine.Plan, Any] | None:
        """The call's plan and its upstream; None if the request must go through as it is."""
        own = reading.own_headers(request.headers)
        controls = reading.controls_of(request.headers, own, self._cache, self._controls)
        found = reading.read(
            request,
            controls,
            kind=kind,
            base=base,
            account=self._account,
            is_async=self.is_async,
        )
        if found is None:
            return None
        call, identity = found
        upstream = TransportUpstream(
            self._transport,
            self.library,
            _without(self.library, request, own),
            call.params,
            identity,
            stream_usage=self._stream_usage,
        )
        route = upstreams.intercepted(Route(upstream, call.model, identity))
        return engine.plan(call, self._store(), route), upstream

    def _as_it_is(self, request: Any) -> Any:
        """The request without the headers that are for the cache alone."""
        return _without(self.library, request, reading.own_headers(request.headers))

    def _response(self, request: Any, answered: exchange.Answered, added: Any = ()) -> Any:
        return self.library.Response(
            answered.status,
            headers=[*answered.headers, *added],
            content=answered.content,
            request=request,
        )

    def _whole(self, request: Any, plan: engine.Plan, upstream: Any, answer: Response) -> Any:
        """An answer that did not come as a stream."""
        added = cache_status.headers_for(answer.cache).items()
        live = upstream.live
        if live is not None and not answer.cache.hit and answer.cache.items is None:
            return self._response(request, live, added)
        content, kind = answer.raw, _JSON
        plain = plan.call.kind == "transcription" and text_format(plan.call.params)
        if plain:
            content = str(orjson.loads(content).get("text", "")).encode()
            kind = (b"content-type", plain.encode())
        headers = [kind] if live is None else live.headers
        return self._response(request, exchange.Answered(200, headers, content), added)

    def _stream_headers(self, upstream: Any, answer: Stream | AsyncStream) -> list[Any]:
        live = upstream.live
        headers = [(b"content-type", event_stream.CONTENT_TYPE.encode())]
        if live is not None:
            headers = list(live.headers)
        return [*headers, *cache_status.headers_for(answer.cache).items()]

    def _failed(self, request: Any, error: UpstreamError) -> Any:
        """The response that an error is; raises the library's own error if it is none."""
        found = exchange.http_answer_of(error)
        if found is None:
            raise exchange.http_error_of(error, self.library, request) from error
        return self._response(request, found)

    def _not_cached(self, request: Any, error: NotCached) -> Any:
        message = {"error": {"message": str(error), "type": "not_cached", "code": "not_cached"}}
        # Nobody is to try again: the SDKs do so for 5xx unless they are told.
        added = {**cache_status.not_cached(error.digest), "x-should-retry": "false"}
        answered = exchange.Answered(504, [_JSON], orjson.dumps(message))
        return self._response(request, answered, added.items())


def _without(library: Any, request: Any, own: Mapping[str, str]) -> Any:
    if not own:
        return request
    headers = [
        (name, value)
        for name, value in request.headers.raw
        if name.lower().removeprefix(b"x-llmcache-").decode("ascii", "replace") not in own
    ]
    return library.Request(
        request.method,
        request.url,
        headers=headers,
        stream=request.stream,
        extensions=request.extensions,
    )


class SyncCaching(_Caching):
    """To be mixed with the library's BaseTransport; see `_Caching` for the arguments."""

    is_async = False
    events: ClassVar[Any]
    """A class of the library's SyncByteStream mixed with `SyncEvents`."""

    def _own_transport(self, **options: Any) -> Any:
        return self.library.HTTPTransport(**options)

    def handle_request(self, request: Any) -> Any:
        """Answer a request from the cache or from the provider."""
        found = kind_of(request.url.path) if request.method == "POST" else None
        if found is None:
            return self._transport.handle_request(self._as_it_is(request))
        request.read()
        planned = self._plan(request, *found)
        if planned is None:
            return self._transport.handle_request(self._as_it_is(request))
        plan, upstream = planned
        try:
            answer = client.carry_out(plan)
        except UpstreamError as error:
            return self._failed(request, error)
        except NotCached as error:
            return self._not_cached(request, error)
        if isinstance(answer, Response):
            return self._whole(request, plan, upstream, answer)
        stream = self.events(answer, plan.call.kind, self.library, request)
        headers = self._stream_headers(upstream, answer)
        return self.library.Response(200, headers=headers, request=request, stream=stream)

    def close(self) -> None:
        """Close the wrapped transport."""
        self._transport.close()


class AsyncCaching(_Caching):
    """To be mixed with the library's AsyncBaseTransport; see `_Caching` for the arguments."""

    is_async = True
    events: ClassVar[Any]
    """A class of the library's AsyncByteStream mixed with `AsyncEvents`."""

    def _own_transport(self, **options: Any) -> Any:
        return self.library.AsyncHTTPTransport(**options)

    async def handle_async_request(self, request: Any) -> Any:
        """As `SyncCaching.handle_request`."""
        found = kind_of(request.url.path) if request.method == "POST" else None
        if found is None:
            return await self._transport.handle_async_request(self._as_it_is(request))
        await request.aread()
        planned = self._plan(request, *found)
        if planned is None:
            return await self._transport.handle_async_request(self._as_it_is(request))
        plan, upstream = planned
        try:
            answer = await aclient.carry_out(plan)
        except UpstreamError as error:
            return self._failed(request, error)
        except NotCached as error:
            return self._not_cached(request, error)
        if isinstance(answer, Response):
            return self._whole(request, plan, upstream, answer)
        stream = self.events(answer, plan.call.kind, self.library, request)
        headers = self._stream_headers(upstream, answer)
        return self.library.Response(200, headers=headers, request=request, stream=stream)

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._transport.aclose()


class _Events:
    def __init__(self, answer: Any, kind: str, library: Any, request: Any) -> None:
        self._answer = answer
        self._kind = kind
        self._library = library
        self._request = request

    def _told(self, error: UpstreamError) -> bytes:
        """The event in which the provider reported an error; raises where the stream just broke."""
        if isinstance(error.body, dict):
            return event_stream.frame(self._kind, orjson.dumps(error.body))
        raise exchange.http_error_of(error, self._library, self._request) from error


class SyncEvents(_Events):
    """A stream's events as bytes on their way to the SDK."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from event_stream.frames(self._kind, self._answer.raw_events())
        except UpstreamError as error:
            yield self._told(error)

    def close(self) -> None:
        """Stop reading."""
        self._answer.close()


class AsyncEvents(_Events):
    """As `SyncEvents`, for async clients."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in event_stream.aframes(self._kind, self._answer.raw_events()):
                yield piece
        except UpstreamError as error:
            yield self._told(error)

    async def aclose(self) -> None:
        """Stop reading."""
        await self._answer.aclose()
