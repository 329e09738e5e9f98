"""Transports for httpx, for SDKs that use it:

    client = Mistral(client=llmcache.httpx.client())

The SDKs of OpenAI (3.x) and Anthropic (2.x) use httpx2: see `llmcache.httpx2`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import httpx

from llmcache.transports.caching import AsyncCaching, AsyncEvents, SyncCaching, SyncEvents


class _Events(SyncEvents, httpx.SyncByteStream):
    pass


class _AsyncEvents(AsyncEvents, httpx.AsyncByteStream):
    pass


class CacheTransport(SyncCaching, httpx.BaseTransport):
    """Caches the calls of a sync client: `httpx.Client(transport=CacheTransport())`."""

    library: ClassVar[Any] = httpx
    events: ClassVar[Any] = _Events


class AsyncCacheTransport(AsyncCaching, httpx.AsyncBaseTransport):
    """Caches the calls of an async client."""

    library: ClassVar[Any] = httpx
    events: ClassVar[Any] = _AsyncEvents


def client(**options: Any) -> httpx.Client:
    """A client for an SDK, whose calls are cached; takes the arguments of CacheTransport."""
    return httpx.Client(transport=CacheTransport(**options), follow_redirects=True)


def async_client(**options: Any) -> httpx.AsyncClient:
    """As `client`, for async SDKs."""
    return httpx.AsyncClient(transport=AsyncCacheTransport(**options), follow_redirects=True)
