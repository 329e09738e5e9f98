"""Entries on this machine's disk, shared by its processes and kept over restarts: diskcache, bytes
only.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from time import time
from typing import Any, ClassVar, Final

from django.core.checks import CheckMessage, Warning
from django.core.exceptions import ImproperlyConfigured

from llmcache.backends.base import CLAIM, BaseBackend, Item
from llmcache.backends.gathering import GatheredInThreads
from llmcache.backends.keyspace import Keyspace
from llmcache.conf import BackendSettings
from llmcache.options import Options
from llmcache.packages import require_package

DEFAULTS: Final = {
    "size_limit": 1024 * 1024 * 1024,
    "eviction_policy": "least-recently-stored",
    "timeout": 1.0,
}
_POLICIES: Final = (
    "least-recently-stored",
    "least-recently-used",
    "least-frequently-used",
    "none",
)
_AT_A_TIME: Final = 500
_LIVE_KEYS: Final = (
    "SELECT key FROM Cache WHERE raw = 1 AND key > ? AND key < ?"
    " AND (expire_time IS NULL OR expire_time > ?) ORDER BY key LIMIT 500"
)


class DiskBackend(GatheredInThreads, BaseBackend):
    """LOCATION: the directory; made on first use, for its owner alone.

    OPTIONS:
        size_limit (int): bytes on disk past which entries are removed, by the policy below.
        eviction_policy (str): which go first: "least-recently-stored" (the only one that writes
            nothing when an entry is read), "least-recently-used", "least-frequently-used", or
            "none" to remove what has expired alone.
        timeout (float): seconds to wait for another process's lock.
    """

    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS

    supports_claims = True

    def __init__(self, settings: BackendSettings) -> None:
        super().__init__(settings)
        require_package(settings.setting, "diskcache", "disk")
        options = Options(settings, DEFAULTS)
        if not settings.location:
            raise ImproperlyConfigured(
                f"LLMCACHE[{settings.alias!r}]['LOCATION'] must name the directory of the entries."
            )
        self._size_limit = options.whole("size_limit")
        self._timeout = options.seconds("timeout")
        self._policy = options.one_of("eviction_policy", _POLICIES)
        # As diskcache reads it; absolute, as its threads open it anew after the program changed its
        # working directory.
        self._directory = Path(os.path.expandvars(Path(settings.location).expanduser())).absolute()
        self._keys = Keyspace(self.prefix)
        self._cache: Any = None
        self._lock = threading.Lock()

    @property
    def cache(self) -> Any:
        """The diskcache.Cache, opened on first use."""
        return self._cache if self._cache is not None else self._open()

    def _open(self) -> Any:
        from diskcache import Cache

        from llmcache.backends.disk_format import BytesDisk

        with self._lock:
            if self._cache is None:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._cache = Cache(
                    str(self._directory),
                    timeout=self._timeout,
                    disk=BytesDisk,
                    size_limit=self._size_limit,
                    eviction_policy=self._policy,
                )
            return self._cache

    def get(self, digest: str) -> bytes | None:
        data: bytes | None = self.cache.get(self.prefix + digest)
        return data

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        self.cache.set(self.prefix + digest, data, expire=ttl)

    def set_many(self, items: Iterable[Item]) -> None:
        cache = self.cache
        with cache.transact():
            for digest, data, ttl in items:
                cache.set(self.prefix + digest, data, expire=ttl)

    def delete(self, digest: str) -> bool:
        return bool(self.cache.delete(self.prefix + digest))

    def delete_many(self, digests: Iterable[str]) -> int:
        cache = self.cache
        with cache.transact():
            return sum(bool(cache.delete(self.prefix + digest)) for digest in digests)

    def touch(self, digest: str, ttl: float | None) -> bool:
        return bool(self.cache.touch(self.prefix + digest, expire=ttl))

    def replace(self, digest: str, old: bytes, data: bytes, ttl: float | None) -> bool:
        with self.cache.transact():
            return super().replace(digest, old, data, ttl)

    def clear(self) -> int:
        removed, digests = 0, self.iterate()
        while batch := list(islice(digests, _AT_A_TIME)):  # others write in between
            removed += self.delete_many(batch)
        return removed

    def iterate(self) -> Iterator[str]:
        # Not diskcache's iterkeys: it walks all aliases' keys and stops at one it cannot read.
        after, end = self.prefix, self.prefix + "g"
        while rows := self.cache._sql(_LIVE_KEYS, (after, end, time())).fetchall():
            for (key,) in rows:
                digest = self._keys.digest(key)
                if digest is not None:
                    yield digest
            after = rows[-1][0]

    def sweep(self, limit: int = 1000) -> int:
        cache = self.cache
        # diskcache deletes all that expired before a moment: pick the moment so that `limit` did.
        rows = cache._sql(
            "SELECT expire_time FROM Cache WHERE expire_time < ? ORDER BY expire_time LIMIT ?",
            (time(), limit),
        ).fetchall()
        if not rows:
            return 0
        return int(cache.expire(now=rows[-1][0] + 1e-6))

    # --- claims ---

    def claim(self, name: str, token: bytes, ttl: float) -> bytes:
        cache = self.cache
        with cache.transact():
            held: bytes | None = self.claimed(name)
            if held is not None and held.startswith(CLAIM):
                return held
            cache.set(f"{self.prefix}{name}-claim", token, expire=ttl)
        return token

    def renew_claim(self, name: str, token: bytes, ttl: float) -> bool:
        cache = self.cache
        with cache.transact():
            mine = self.claimed(name) == token
            return mine and bool(cache.touch(f"{self.prefix}{name}-claim", expire=ttl))

    def end_claim(self, name: str, token: bytes, note: bytes | None, ttl: float) -> None:
        cache, key = self.cache, f"{self.prefix}{name}-claim"
        with cache.transact():
            if self.claimed(name) != token:
                return
            if note is None:
                cache.delete(key)
            else:
                cache.set(key, note, expire=ttl)

    def claimed(self, name: str) -> bytes | None:
        held: bytes | None = self.cache.get(f"{self.prefix}{name}-claim")
        return held

    def post(self, slot: str, data: bytes, ttl: float) -> None:
        self.cache.set(self.prefix + slot, data, expire=ttl)

    def posted(self, slot: str) -> bytes | None:
        return self.get(slot)

    def check(self) -> list[CheckMessage]:
        try:
            mode = self._directory.stat().st_mode
        except OSError:
            return []
        if not mode & (stat.S_IWGRP | stat.S_IWOTH):
            return []
        return [
            Warning(
                f"Other users can write to LLMCACHE[{self.alias!r}]['LOCATION'], "
                f"{self._directory}.",
                hint=f"chmod 700 {self._directory}",
                id="llmcache.W106",
            )
        ]

    def close(self) -> None:
        with self._lock:
            cache, self._cache = self._cache, None
        if cache is not None:
            cache.close()
