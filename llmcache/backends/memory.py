"""Entries in this process's memory, bounded in number and bytes. Reads take no lock."""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from time import monotonic
from typing import Any, ClassVar, Final
from weakref import WeakSet

from django.core.checks import CheckMessage

from llmcache.backends import checks
from llmcache.backends.base import BaseBackend, Item
from llmcache.backends.direct import DirectAsync
from llmcache.conf import BackendSettings
from llmcache.options import Options

DEFAULTS: Final = {"max_entries": 10_000, "max_bytes": 256 * 1024 * 1024}


class _Entry:
    """`used`: read since it was last considered for eviction."""

    __slots__ = ("data", "expires", "used")

    def __init__(self, data: bytes, expires: float) -> None:
        self.data = data
        self.expires = expires
        self.used = False


class MemoryBackend(DirectAsync, BaseBackend):
    """Takes no LOCATION.

    OPTIONS:
        max_entries (int): how many entries there may be.
        max_bytes (int): of all entries together.

    A full store evicts the oldest entry that has not been read since its last turn: nearly
    least-recently-used, at the price of one attribute per read. What alone exceeds `max_bytes` is
    not stored. Each backend object has entries of its own.
    """

    process_local = True
    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS

    def __init__(self, settings: BackendSettings) -> None:
        super().__init__(settings)
        options = Options(settings, DEFAULTS)
        self._max_entries = options.whole("max_entries")
        self._max_bytes = options.whole("max_bytes")
        self._entries: dict[str, _Entry] = {}
        self._queue: deque[str] = deque()  # in turn for eviction; may name what is already gone
        self._bytes = 0
        self._lock = threading.Lock()
        _living.add(self)

    @property
    def size(self) -> tuple[int, int]:
        """How many entries there are, and the bytes of their data."""
        return len(self._entries), self._bytes

    def get(self, digest: str) -> bytes | None:
        entry = self._entries.get(digest)
        if entry is None:
            return None
        if entry.expires > monotonic():
            entry.used = True
            return entry.data
        return self._drop_unless_replaced(digest)

    def _drop_unless_replaced(self, digest: str) -> bytes | None:
        with self._lock:
            entry = self._entries.get(digest)
            if entry is None:
                return None
            if entry.expires > monotonic():
                return entry.data
            self._drop(digest)
            return None

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        expires = math.inf if ttl is None else monotonic() + ttl
        with self._lock:
            self._put(digest, data, expires)

    def set_many(self, items: Iterable[Item]) -> None:
        now = monotonic()
        with self._lock:
            for digest, data, ttl in items:
                self._put(digest, data, math.inf if ttl is None else now + ttl)

    def _put(self, digest: str, data: bytes, expires: float) -> None:
        old = self._entries.get(digest)
        if len(data) > self._max_bytes:
            if old is not None:
                self._drop(digest)
            return
        if old is None:
            self._queue.append(digest)
        else:
            self._bytes -= len(old.data)
        self._entries[digest] = _Entry(data, expires)
        self._bytes += len(data)
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._evict(digest)

    def _evict(self, newest: str) -> None:
        """Give the entry whose turn it is a second chance, or drop it."""
        digest = self._queue.popleft()
        entry = self._entries.get(digest)
        if entry is None:
            return
        if digest == newest or (entry.used and entry.expires > monotonic()):
            entry.used = False
            self._queue.append(digest)
        else:
            self._drop(digest)

    def _drop(self, digest: str) -> None:
        self._bytes -= len(self._entries.pop(digest).data)
        if len(self._queue) > 2 * len(self._entries) + 64:
            self._queue = deque(self._entries)

    def delete(self, digest: str) -> bool:
        with self._lock:
            entry = self._entries.get(digest)
            if entry is None:
                return False
            self._drop(digest)
            return entry.expires > monotonic()

    def touch(self, digest: str, ttl: float | None) -> bool:
        with self._lock:
            entry = self._entries.get(digest)
            now = monotonic()
            if entry is None or entry.expires <= now:
                return False
            entry.expires = math.inf if ttl is None else now + ttl
            return True

    def replace(self, digest: str, old: bytes, data: bytes, ttl: float | None) -> bool:
        with self._lock:
            entry = self._entries.get(digest)
            now = monotonic()
            if entry is None or entry.expires <= now or entry.data != old:
                return False
            self._put(digest, data, math.inf if ttl is None else now + ttl)
            return True

    def clear(self) -> int:
        with self._lock:
            now = monotonic()
            number = sum(entry.expires > now for entry in self._entries.values())
            self._entries.clear()
            self._queue.clear()
            self._bytes = 0
        return number

    def iterate(self) -> Iterator[str]:
        for digest in list(self._entries):
            entry = self._entries.get(digest)
            if entry is not None and entry.expires > monotonic():
                yield digest

    def sweep(self, limit: int = 1000) -> int:
        swept = 0
        for digest in list(self._entries):
            if swept >= limit:
                break
            with self._lock:
                entry = self._entries.get(digest)
                if entry is not None and entry.expires <= monotonic():
                    self._drop(digest)
                    swept += 1
        return swept

    def check(self) -> list[CheckMessage]:
        return checks.process_local(self)


_living: WeakSet[MemoryBackend] = WeakSet()


def _renew_locks() -> None:
    """Another thread may have held a lock at the fork; it does not exist in the child."""
    for backend in _living:
        backend._lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_locks)
