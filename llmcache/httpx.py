"""Transports for SDKs over httpx: they answer from the cache what it has, and send the rest.

    client = Mistral(client=llmcache.httpx.client())

OpenAI's SDK from 3.0 on and Anthropic's from 1.0 on are built on httpx2: see `llmcache.httpx2`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import httpx

from llmcache.transports import connections
from llmcache.transports.asynchronous import AsyncPieces, AsyncTransport
from llmcache.transports.sync import Pieces, SyncTransport

__all__ = ["AsyncCacheTransport", "CacheTransport", "async_client", "client"]


class _Stream(Pieces, httpx.SyncByteStream):
    pass


class _AsyncStream(AsyncPieces, httpx.AsyncByteStream):
    pass


class CacheTransport(SyncTransport, httpx.BaseTransport):
    """A transport for `httpx.Client` that answers calls to language models from the cache.

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

    library: ClassVar[Any] = httpx
    stream_class: ClassVar[Any] = _Stream

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response: httpx.Response = self._handle(request)
        return response


class AsyncCacheTransport(AsyncTransport, httpx.AsyncBaseTransport):
    """As `CacheTransport`, for `httpx.AsyncClient`."""

    library: ClassVar[Any] = httpx
    stream_class: ClassVar[Any] = _AsyncStream

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response: httpx.Response = await self._handle(request)
        return response


def client(**options: Any) -> httpx.Client:
    """An HTTP client that caches, with the timeouts and limits of the official SDKs.

    Args:
        options: those of `CacheTransport`.
    """
    return httpx.Client(transport=CacheTransport(**options), **connections.client_options(httpx))


def async_client(**options: Any) -> httpx.AsyncClient:
    """As `client`, for async SDKs."""
    return httpx.AsyncClient(
        transport=AsyncCacheTransport(**options), **connections.client_options(httpx)
    )
