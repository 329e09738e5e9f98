"""What the sync and the async transport have in common: their settings, and steps without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llmcache import controls, events, state
from llmcache.caching import Cache, for_alias
from llmcache.calls import KINDS
from llmcache.engine import plan
from llmcache.exceptions import InvalidRequest, UpstreamError
from llmcache.http import event_stream
from llmcache.plans import Plan
from llmcache.response import Response
from llmcache.transports import connections, reading, replies
from llmcache.transports.accounts import Account, checked
from llmcache.transports.reading import Asked, Place
from llmcache.transports.replies import Reply
from llmcache.transports.upstream import RequestUpstream, without_instructions
from llmcache.upstreams import Route, upstreams

JSON = "application/json"


class CachingTransport:
    """A transport that answers what it can from the cache.

    Attributes:
        library: httpx or httpx2.
        is_async: which of the library's two interfaces it has.
    """

    library: ClassVar[Any]
    is_async: ClassVar[bool]

    def __init__(
        self,
        transport: Any = None,
        *,
        using: str | None = None,
        cache: Mapping[str, Any] | None = None,
        account: Account = ...,
        stream_usage: bool = True,
        paths: Mapping[str, str] | None = None,
        expose: bool = True,
        **options: Any,
    ) -> None:
        self._transport = self._below(transport, options)
        self._using = using
        self._defaults = dict(cache or {})
        controls.parse(self._defaults)
        self._account = checked(account)
        self._stream_usage = stream_usage
        self._paths = dict(paths or {})
        for kind in self._paths.values():
            if kind not in KINDS:
                raise InvalidRequest.unknown("kind of call in paths", kind, KINDS)
        self._expose = expose

    def _below(self, transport: Any, options: Mapping[str, Any]) -> Any:
        library = self.library
        base, made, other = library.BaseTransport, library.HTTPTransport, "AsyncCacheTransport"
        if self.is_async:
            base, made = library.AsyncBaseTransport, library.AsyncHTTPTransport
            other = "CacheTransport"
        name = type(self).__name__
        if transport is None:
            return made(**{**connections.options(library), **options})
        if options:
            raise InvalidRequest(
                f"{name} has a transport already: give {', '.join(sorted(options))} to that one."
            )
        if not isinstance(transport, base):
            raise InvalidRequest(
                f"{name} of {type(self).__module__} wraps a {library.__name__}."
                f"{base.__name__}, not {transport!r}. Use {other} for its other kind, and the "
                "module of llmcache that is named after the library of your client."
            )
        return transport

    def __repr__(self) -> str:
        using = f" using {self._using!r}" if self._using else ""
        return f"<{type(self).__name__} over {type(self._transport).__name__}{using}>"

    # --- before ---

    def _place(self, request: Any) -> Place | None:
        try:
            return reading.place_of(request, self._paths)
        except Exception as error:
            self._own_failure(error)
            return None

    def _read(self, place: Place, body: bytes) -> Asked | None:
        try:
            return reading.asked_of(
                place,
                body,
                account=self._account,
                defaults=self._defaults,
                is_async=self.is_async,
            )
        except InvalidRequest:
            raise
        except Exception as error:
            self._own_failure(error)
            return None

    def _plan(self, request: Any, asked: Asked) -> tuple[Plan, RequestUpstream]:
        upstream = RequestUpstream(
            self.library, self._transport, request, asked, stream_usage=self._stream_usage
        )
        route = upstreams.intercepted(Route(upstream, asked.call.model, asked.identity))
        return plan(asked.call, self._store(), route), upstream

    def _store(self) -> Cache | None:
        return state.current() if self._using is None else for_alias(self._using)

    def _unread(self, request: Any, place: Place | None) -> Any:
        """A request that goes by the cache."""
        return without_instructions(self.library, request, all_paths=place is None)

    # --- after ---

    def _whole(self, asked: Asked, answer: Response, upstream: RequestUpstream) -> Any:
        """An answer that is all there."""
        body, content_type = answer.raw, JSON
        if asked.text_type:
            body, content_type = answer["text"].encode(), f"{asked.text_type}; charset=utf-8"
        headers = replies.headers_of(
            answer.cache, content_type, upstream.headers, expose=self._expose
        )
        return self.library.Response(200, headers=headers, content=body)

    def _streamed(self, answer: Any, upstream: RequestUpstream, stream: Any) -> Any:
        headers = replies.headers_of(
            answer.cache, event_stream.CONTENT_TYPE, upstream.headers, expose=self._expose
        )
        return self.library.Response(200, headers=headers, stream=stream)

    def _failed(self, error: UpstreamError, upstream: RequestUpstream) -> Any:
        """The response to a call that failed.

        Raises:
            library.RequestError: the provider gave none.
        """
        passed = upstream.passed
        if error.original is None and isinstance(passed, Reply):
            return passed.response(self.library)  # it is the engine that did not understand it
        return replies.failed(self.library, error, is_own=upstream.is_asked)

    def _passed(self, upstream: RequestUpstream) -> Any:
        """The provider's response that is no answer to keep; None if there is none."""
        passed, upstream.passed = upstream.passed, None
        return passed.response(self.library) if isinstance(passed, Reply) else passed

    def _own_failure(self, error: Exception) -> None:
        events.warn_once("transport_error", "A request goes by the cache: %r", error)


def can_be_read_again(library: Any, stream: Any) -> bool:
    """Whether reading a request's body leaves it to be sent: that of a generator is used up."""
    return isinstance(stream, library.ByteStream) or type(stream).__name__ == "MultipartStream"
