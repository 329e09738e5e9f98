"""Collects writes to a slower store and sends them in one go, none lost and each with its ttl."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from time import monotonic
from typing import Any, Final
from weakref import WeakSet

from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured

from llmcache import threads
from llmcache.backends.base import BaseBackend, Item, run_in_thread

logger = logging.getLogger("llmcache")

MOST_WAITING: Final = 10_000


class BatchedBackend(BaseBackend):
    """A store in front of another: writes wait until there are `flush_size` of them, or until the
    oldest has waited `flush_interval` seconds, or until the interpreter exits.

    This process sees what still waits; others see it once it is sent. What could not be sent is
    kept for the next time; over 10,000 waiting entries, the oldest are given up and that is logged.
    """

    def __init__(self, inner: BaseBackend, flush_size: int, flush_interval: float = 1.0) -> None:
        if type(flush_size) is not int or flush_size < 1:
            raise ImproperlyConfigured(
                f"redis_flush_size must be an integer from 1 up, not {flush_size!r}."
            )
        super().__init__(inner.settings)
        self.inner = inner
        self.process_local = inner.process_local
        self.exact_ttl = inner.exact_ttl
        self.has_own_breakers = inner.has_own_breakers
        self.supports_iterate = inner.supports_iterate
        self.supports_clear = inner.supports_clear
        self._flush_size = flush_size
        self._flush_interval = flush_interval
        self._start_afresh()
        _living.add(self)

    def _start_afresh(self) -> None:
        # Digest to data and the moment it ends; what a flush has taken out stays visible beside it.
        self._waiting: dict[str, tuple[bytes, float | None]] = {}
        self._sending: dict[str, tuple[bytes, float | None]] = {}
        self._lock = threading.Lock()
        self._flush_lock = threading.Lock()
        self._timer: threading.Timer | None = None

    # --- what waits ---

    def _pending(self, digest: str) -> tuple[bytes | None] | None:
        """An entry's data or, once it has ended, (None,): what it replaced below is no answer. None
        if nothing waits under this digest."""
        found = self._waiting.get(digest) or self._sending.get(digest)
        if found is None:
            return None
        return (found[0] if _left(found[1]) else None,)

    def _sort(self, digests: Iterable[str]) -> tuple[dict[str, bytes], list[str]]:
        """What waits here, and what to ask for below."""
        found = {digest: self._pending(digest) for digest in digests}
        here = {name: pair[0] for name, pair in found.items() if pair and pair[0] is not None}
        return here, [name for name, pair in found.items() if pair is None]

    def _put(self, items: Iterable[Item]) -> bool:
        """Let entries wait; whether it is time to send them."""
        with self._lock:
            for digest, data, ttl in items:
                self._waiting.pop(digest, None)
                self._waiting[digest] = (data, None if ttl is None else monotonic() + ttl)
            if len(self._waiting) >= self._flush_size:
                return True
            self._set_timer()
            return self._timer is None

    def _set_timer(self) -> None:
        if self._timer is None and self._waiting:
            timer = threading.Timer(self._flush_interval, self._flush_by_timer)
            timer.daemon = True
            self._timer = timer if threads.starts(timer) else None

    def _drop(self, digests: Iterable[str]) -> set[str]:
        """Take entries out of what waits; those that were there."""
        with self._lock:
            dropped = set()
            for digest in digests:
                found = self._pending(digest)
                if found is not None and found[0] is not None:
                    dropped.add(digest)
                self._waiting.pop(digest, None)
                self._sending.pop(digest, None)
            return dropped

    def _take(self) -> tuple[list[Item], list[str]]:
        """What to send, and the digests of what has ended while it waited."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._sending, self._waiting = self._waiting, {}
            left = {digest: _left(end) for digest, (_, end) in self._sending.items()}
            items = [
                Item(digest, data, None if end is None else left[digest])
                for digest, (data, end) in self._sending.items()
                if left[digest]
            ]
            return items, [digest for digest in left if not left[digest]]

    def _sent(self) -> None:
        with self._lock:
            self._sending = {}

    def _keep(self, error: Exception) -> None:
        with self._lock:
            self._waiting = {**self._sending, **self._waiting}
            self._sending = {}
            over = len(self._waiting) - MOST_WAITING
            for digest in list(self._waiting)[: max(0, over)]:
                del self._waiting[digest]
            self._set_timer()
        if over > 0:
            logger.warning("Alias %r gave up %d entries that it could not send", self.alias, over)
        logger.warning(
            "Alias %r will try again to send its entries: %s: %s",
            self.alias,
            type(error).__name__,
            error,
        )

    def flush(self) -> None:
        """Send what waits, now."""
        with self._flush_lock:
            items, ended = self._take()
            try:
                if items:
                    self.inner.set_many(items)
                if ended:
                    self.inner.delete_many(ended)
            except Exception as error:
                self._keep(error)
                raise
            self._sent()

    def _flush_by_timer(self) -> None:
        with suppress(Exception):  # logged, and the next timer is set
            self.flush()

    # --- sync ---

    def get(self, digest: str) -> bytes | None:
        found = self._pending(digest) if self._waiting or self._sending else None
        return self.inner.get(digest) if found is None else found[0]

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        here, missing = self._sort(digests)
        return {**here, **(self.inner.get_many(missing) if missing else {})}

    def present(self, digests: Iterable[str]) -> dict[str, bytes]:
        here, missing = self._sort(digests)
        return {**here, **(self.inner.present(missing) if missing else {})}

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        self.set_many([Item(digest, data, ttl)])

    def set_many(self, items: Iterable[Item]) -> None:
        if self._put(items):
            self.flush()

    def delete(self, digest: str) -> bool:
        return bool(self.delete_many([digest]))

    def delete_many(self, digests: Iterable[str]) -> int:
        names = set(digests)
        with self._flush_lock:  # so that nothing is deleted while it is being sent
            return self._delete(names)

    def _delete(self, names: AbstractSet[str]) -> int:
        waiting = self._drop(names)
        removed = self.inner.delete_many(names - waiting) if names - waiting else 0
        if waiting:
            self.inner.delete_many(waiting)
        return removed + len(waiting)

    def touch(self, digest: str, ttl: float | None) -> bool:
        with self._flush_lock, self._lock:
            found = self._waiting.get(digest)
            if found is not None:
                if not _left(found[1]):
                    return False
                self._waiting[digest] = (found[0], None if ttl is None else monotonic() + ttl)
                return True
        return self.inner.touch(digest, ttl)

    def clear(self) -> int:
        with self._flush_lock:
            return self._delete({*self._waiting}) + self.inner.clear()

    def iterate(self) -> Iterator[str]:
        here, _ = self._sort([*self._waiting, *self._sending])
        yield from here
        for digest in self.inner.iterate():
            if digest not in here and self._pending(digest) is None:
                yield digest

    def sweep(self, limit: int = 1000) -> int:
        return self.inner.sweep(limit)

    def check(self) -> list[CheckMessage]:
        return self.inner.check()

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self.inner.close()

    # --- async ---

    async def aget(self, digest: str) -> bytes | None:
        found = self._pending(digest) if self._waiting or self._sending else None
        return await self.inner.aget(digest) if found is None else found[0]

    async def aget_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        here, missing = self._sort(digests)
        return {**here, **(await self.inner.aget_many(missing) if missing else {})}

    async def aset(self, digest: str, data: bytes, ttl: float | None) -> None:
        await self.aset_many([Item(digest, data, ttl)])

    async def aset_many(self, items: Iterable[Item]) -> None:
        if self._put(items):
            await run_in_thread(self.flush)


def _left(end: float | None) -> float:
    """Seconds until an entry ends; 0 if it has, infinity if it never does."""
    return float("inf") if end is None else max(0.0, end - monotonic())


_living: WeakSet[BatchedBackend] = WeakSet()


def _each(method: str) -> Any:
    def run() -> None:
        for backend in list(_living):
            try:
                getattr(backend, method)()
            except Exception as error:
                logger.warning("Alias %r: %s", backend.alias, error)

    return run


flush_all = _each("flush")
atexit.register(flush_all)
# What waits in the parent is the parent's to send.
os.register_at_fork(after_in_child=_each("_start_afresh"))
