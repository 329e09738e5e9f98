"""Transports for httpx2, which the SDKs of OpenAI (3.x) and Anthropic (2.x) use:

    client = OpenAI(http_client=llmcache.httpx2.client())
    client = AsyncAnthropic(http_client=llmcache.httpx2.async_client())

For SDKs that use httpx, see `llmcache.httpx`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import httpx2

from llmcache.transports.caching import AsyncCaching, AsyncEvents, SyncCaching, SyncEvents


class _Events(SyncEvents, httpx2.SyncByteStream):
    pass


class _AsyncEvents(AsyncEvents, httpx2.AsyncByteStream):
    pass


class CacheTransport(SyncCaching, httpx2.BaseTransport):
    """Caches the calls of a sync client: `httpx2.Client(transport=CacheTransport())`."""

    library: ClassVar[Any] = httpx2
    events: ClassVar[Any] = _Events


class AsyncCacheTransport(AsyncCaching, httpx2.AsyncBaseTransport):
    """Caches the calls of an async client."""

    library: ClassVar[Any] = httpx2
    events: ClassVar[Any] = _AsyncEvents


def client(**options: Any) -> httpx2.Client:
    """A client for an SDK, whose calls are cached; takes the arguments of CacheTransport."""
    return httpx2.Client(transport=CacheTransport(**options), follow_redirects=True)


def async_client(**options: Any) -> httpx2.AsyncClient:
    """As `client`, for async SDKs."""
    return httpx2.AsyncClient(transport=AsyncCacheTransport(**options), follow_redirects=True)
