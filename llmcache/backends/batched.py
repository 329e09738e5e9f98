"""Collects writes to a slower store and sends them in one go, none lost and each with its ttl."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import Any, Final
from weakref import WeakSet

from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured

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
        self.native_async = inner.native_async
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

    def _pending(self, digest: str) -> bytes | None:
        found = self._waiting.get(digest) or self._sending.get(digest)
        if found is None or _left(found[1]) == 0:
            return None
        return found[0]

    def _put(self, items: Iterable[Item]) -> bool:
        """Let entries wait; whether it is time to send them."""
        with self._lock:
            for digest, data, ttl in items:
                self._waiting.pop(digest, None)
                self._waiting[digest] = (data, None if ttl is None else monotonic() + ttl)
            if len(self._waiting) >= self._flush_size:
                return True
            if self._timer is None:
                self._timer = threading.Timer(self._flush_interval, self._flush_by_timer)
                self._timer.daemon = True
                self._timer.start()
            return False

    def _drop(self, digests: Iterable[str]) -> set[str]:
        """Take entries out of what waits; those that were there."""
        with self._lock:
            dropped = set()
            for digest in digests:
                if self._pending(digest) is not None:
                    dropped.add(digest)
                self._waiting.pop(digest, None)
                self._sending.pop(digest, None)
            return dropped

    def _take(self) -> list[Item]:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._sending, self._waiting = self._waiting, {}
            return [
                Item(digest, data, None if end is None else left)
                for digest, (data, end) in self._sending.items()
                if (left := _left(end)) != 0
            ]

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
            items = self._take()
            try:
                if items:
                    self.inner.set_many(items)
            except Exception as error:
                self._keep(error)
                raise
            self._sent()

    def _flush_by_timer(self) -> None:
        try:
            self.flush()
        except Exception:
            self._put(())  # logged already; the next timer tries again

    # --- sync ---

    def get(self, digest: str) -> bytes | None:
        found = self._pending(digest) if self._waiting or self._sending else None
        return self.inner.get(digest) if found is None else found

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        names = list(digests)
        here = {name: data for name in names if (data := self._pending(name)) is not None}
        missing = [name for name in names if name not in here]
        return {**here, **(self.inner.get_many(missing) if missing else {})}

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        self.set_many([Item(digest, data, ttl)])

    def set_many(self, items: Iterable[Item]) -> None:
        if self._put(items):
            self.flush()

    def delete(self, digest: str) -> bool:
        return bool(self.delete_many([digest]))

    def delete_many(self, digests: Iterable[str]) -> int:
        names = list(digests)
        with self._flush_lock:  # so that nothing is deleted while it is being sent
            waiting = self._drop(names)
            there = {name for name in names if name not in waiting}
            removed = self.inner.delete_many(there) if there else 0
            if waiting:
                self.inner.delete_many(waiting)
        return removed + len(waiting)

    def touch(self, digest: str, ttl: float | None) -> bool:
        with self._lock:
            found = self._waiting.get(digest)
            if found is not None and _left(found[1]) != 0:
                self._waiting[digest] = (found[0], None if ttl is None else monotonic() + ttl)
                return True
        return self.inner.touch(digest, ttl)

    def clear(self) -> int:
        with self._flush_lock:
            waiting = self._drop(list({**self._waiting, **self._sending}))
            return self.inner.clear() + len(waiting)

    def iterate(self) -> Iterator[str]:
        waiting = {digest for digest in list(self._waiting) if self._pending(digest) is not None}
        yield from waiting
        yield from (digest for digest in self.inner.iterate() if digest not in waiting)

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
        return await self.inner.aget(digest) if found is None else found

    async def aget_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        names = list(digests)
        here = {name: data for name in names if (data := self._pending(name)) is not None}
        missing = [name for name in names if name not in here]
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


atexit.register(_each("flush"))
# What waits in the parent is the parent's to send.
os.register_at_fork(after_in_child=_each("_start_afresh"))
