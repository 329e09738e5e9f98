"""Transports for SDKs over httpx2: they answer from the cache what it has, and send the rest.

    client = OpenAI(http_client=llmcache.httpx2.client())

For SDKs over httpx there is `llmcache.httpx`, which is the same.
"""

from __future__ import annotations

from typing import Any, ClassVar

from llmcache.packages import require_package
from llmcache.transports import connections
from llmcache.transports.asynchronous import AsyncPieces, AsyncTransport
from llmcache.transports.sync import Pieces, SyncTransport

try:
    import httpx2
except ImportError:
    require_package("llmcache.httpx2", "httpx2", "httpx2")
    raise

__all__ = ["AsyncCacheTransport", "CacheTransport", "async_client", "client"]


class _Stream(Pieces, httpx2.SyncByteStream):
    pass


class _AsyncStream(AsyncPieces, httpx2.AsyncByteStream):
    pass


class CacheTransport(SyncTransport, httpx2.BaseTransport):
    """A transport for `httpx2.Client` that answers calls to language models from the cache.

    Args:
        transport: what sends the requests that the cache does not answer; an HTTPTransport if not
            given.
        using: the LLMCACHE alias to use in place of `llmcache.cache`.
        cache: cache controls for all requests, such as {"ttl": 60}; a request's own headers come
            before them.
        account: whose answers these are: a name; None to share with the other doors; if not given,
            the request's credentials say it.
        stream_usage: ask for the usage of chat streams, which the caller does not see unless it
            asked as well; some servers refuse that.
        paths: further ends of paths and their kinds of call, such as {"/chat": "completion"}.
        expose: tell in the response's headers what the cache did.
        options: for HTTPTransport: `proxy`, `verify`, `limits` and so on.

    Raises:
        InvalidRequest: a wrong control, kind or transport; from requests, a wrong `X-LLMCache-`
            header.
    """

    library: ClassVar[Any] = httpx2
    stream_class: ClassVar[Any] = _Stream

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response: httpx2.Response = self._handle(request)
        return response


class AsyncCacheTransport(AsyncTransport, httpx2.AsyncBaseTransport):
    """As `CacheTransport`, for `httpx2.AsyncClient`."""

    library: ClassVar[Any] = httpx2
    stream_class: ClassVar[Any] = _AsyncStream

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response: httpx2.Response = await self._handle(request)
        return response


def client(**options: Any) -> httpx2.Client:
    """An HTTP client that caches, with the timeouts and limits of the official SDKs.

    Args:
        options: those of `CacheTransport`.
    """
    return httpx2.Client(transport=CacheTransport(**options), **connections.client_options(httpx2))


def async_client(**options: Any) -> httpx2.AsyncClient:
    """As `client`, for async SDKs."""
    return httpx2.AsyncClient(
        transport=AsyncCacheTransport(**options), **connections.client_options(httpx2)
    )
