"""Django's LocMemCache: our bytes lie in its dict as they are, under its own rules of expiry and
culling. It would pickle and unpickle them; nothing else ever reads our keys.

Reads take no lock: each step is one operation of a dict. Writes take the cache's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import time
from typing import Any, cast

from django.core.cache import caches
from django.core.checks import CheckMessage

from llmcache.backends import checks
from llmcache.backends.base import Item
from llmcache.backends.direct import DirectAsync
from llmcache.backends.django import DjangoCacheBackend
from llmcache.conf import BackendSettings


class LocMemBackend(DirectAsync, DjangoCacheBackend):
    """A store in this process's memory, shared with whatever else uses the CACHES alias."""

    process_local = True
    exact_ttl: bool = True
    supports_iterate: bool = True
    supports_clear: bool = True
    supports_claims: bool = False

    def __init__(self, settings: BackendSettings) -> None:
        super().__init__(settings)
        # Entries and lock belong to the cache's name, so one instance serves all threads.
        self._locmem: Any = caches.create_connection(self.cache_alias)

    def get(self, digest: str) -> bytes | None:
        locmem, key = self._locmem, self.make_key(digest)
        end = locmem._expire_info.get(key, 0.0)
        if end is None or end > time():
            try:
                locmem._cache.move_to_end(key, last=False)
                return cast(bytes, locmem._cache[key])
            except KeyError:
                return None
        if end:
            self._drop_expired(key)
        return None

    def _drop_expired(self, key: str) -> None:
        with self._locmem._lock:
            if self._locmem._has_expired(key):
                self._locmem._delete(key)

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        found = ((digest, self.get(digest)) for digest in digests)
        return {digest: data for digest, data in found if data is not None}

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        with self._locmem._lock:
            self._locmem._set(self.make_key(digest), data, ttl)

    def set_many(self, items: Iterable[Item]) -> None:
        for item in items:
            self.set(*item)

    def delete(self, digest: str) -> bool:
        locmem, key = self._locmem, self.make_key(digest)
        with locmem._lock:
            live = not locmem._has_expired(key)
            locmem._delete(key)
        return live

    def touch(self, digest: str, ttl: float | None) -> bool:
        locmem, key = self._locmem, self.make_key(digest)
        with locmem._lock:
            if locmem._has_expired(key):
                return False
            locmem._expire_info[key] = locmem.get_backend_timeout(ttl)
            return True

    def clear(self) -> int:
        return self.delete_many(list(self.iterate()))

    def iterate(self) -> Iterator[str]:
        locmem, space = self._locmem, self.keyspace()
        with locmem._lock:
            keys = [key for key in locmem._cache if not locmem._has_expired(key)]
        yield from filter(None, map(space.digest, keys))

    def sweep(self, limit: int = 1000) -> int:
        if not self.supports_iterate:
            return 0
        locmem, space, now = self._locmem, self.keyspace(), time()
        with locmem._lock:
            over = [
                key
                for key, end in locmem._expire_info.items()
                if end is not None and end <= now and space.digest(key)
            ][:limit]
            for key in over:
                locmem._delete(key)
        return len(over)

    def check(self) -> list[CheckMessage]:
        return [
            *checks.process_local(self),
            *checks.few_entries(self, self.cache_alias, self.description),
        ]
