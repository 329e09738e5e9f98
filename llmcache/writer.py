"""Putting prepared entries into their store, guarded: a store that fails costs a count and a log
line.

Inline, the entry is stored before the caller has the answer. With `WRITER = "thread"` one thread of
the process stores it afterwards, from a bounded queue. With a task queue a worker stores it: the
sealed bytes travel. What the thread or the queue does not take is stored inline, so nothing is
lost.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
from base64 import b64encode
from collections.abc import Callable, Sequence

from llmcache import conf, events, signals, task_queue, threads
from llmcache.backends.base import Item, run_in_thread
from llmcache.backends.semantic.base import Vector
from llmcache.envelope import unseal
from llmcache.exceptions import Resting
from llmcache.recorder import recorder
from llmcache.records import EntryRecord
from llmcache.store import Store

Written = Callable[[], None]
Entries = tuple[Store, Sequence[Item], Sequence[EntryRecord], Written, Sequence[Vector]]
Job = Entries | Callable[[], None]
_STOP = None


def _nothing() -> None:
    pass


def write(
    store: Store,
    items: Sequence[Item],
    records: Sequence[EntryRecord] = (),
    written: Written = _nothing,
    vectors: Sequence[Vector] = (),
) -> None:
    """Store entries, now or soon.

    Args:
        records: what the index is to know of them once they are stored.
        written: called once they are stored or have failed to be, in whichever thread did it.
        vectors: of the entries, where the store is searched by meaning.
    """
    if _by_thread() and _worker.put(store, items, records, written, vectors):
        return
    try:
        if not _by_worker(store, items, records, vectors):
            write_now(store, items, records, vectors)
    finally:
        written()


def later(work: Callable[[], None]) -> bool:
    """Have the writer's thread do some work of its own, which must not raise; False if the thread
    has too much to do already."""
    return _worker.put_job(work)


def _by_thread() -> bool:
    return conf.config().writer == "thread" and not task_queue.is_in_place()


def _by_worker(
    store: Store,
    items: Sequence[Item],
    records: Sequence[EntryRecord],
    vectors: Sequence[Vector],
) -> bool:
    """Send entries to a worker; False when they are to be stored here."""
    queue = task_queue.chosen()
    size = sum(len(item.data) for item in items)
    if queue is None or size > task_queue.LARGEST or not task_queue.reaches(store.backend):
        return False
    return task_queue.send(
        queue,
        "write_items",
        alias=store.alias,
        items=[[item.digest, b64encode(item.data).decode(), item.ttl] for item in items],
        records=[record.as_json() for record in records],
        vectors=[vector.as_json() for vector in vectors],
    )


def write_now(
    store: Store,
    items: Sequence[Item],
    records: Sequence[EntryRecord] = (),
    vectors: Sequence[Vector] = (),
) -> None:
    """Store entries in this thread. Never raises for what the store does."""
    if store.breaker.is_open or not store.write_breaker.allows():
        events.count("write_skipped", len(items))
        return
    try:
        if len(items) == 1:
            store.backend.set(*items[0])
        else:
            store.backend.set_many(items)
    except Exception as error:
        write_failed(store, error, len(items))
    else:
        store.write_breaker.succeeded()
        announce(store, items, records)
        if vectors and store.semantic is not None:
            try:
                store.semantic.add(vectors)
            except Exception as error:
                _vectors_failed(store, error)


async def awrite(
    store: Store,
    items: Sequence[Item],
    records: Sequence[EntryRecord] = (),
    vectors: Sequence[Vector] = (),
    written: Written = _nothing,
) -> bool:
    """As `write`, from async code; the thread writer is shared.

    Returns:
        Whether the thread has them now: it calls `written` in the end, which is not called else.
    """
    if _by_thread() and _worker.put(store, items, records, written, vectors):
        return True
    if task_queue.chosen() is not None and await run_in_thread(
        _by_worker, store, items, records, vectors
    ):
        return False
    if store.breaker.is_open or not store.write_breaker.allows():
        events.count("write_skipped", len(items))
        return False
    try:
        if len(items) == 1:
            await store.backend.aset(*items[0])
        else:
            await store.backend.aset_many(items)
    except Exception as error:
        write_failed(store, error, len(items))
    else:
        store.write_breaker.succeeded()
        announce(store, items, records)
        if vectors and store.semantic is not None:
            try:
                await store.semantic.aadd(vectors)
            except Exception as error:
                _vectors_failed(store, error)
    return False


def _vectors_failed(store: Store, error: Exception) -> None:
    """The entry serves the identical prompt; similar ones will not find it."""
    events.count("vector_error")
    events.logger.warning(
        "Alias %r could not store a vector: %s: %s", store.alias, type(error).__name__, error
    )


def write_failed(store: Store, error: Exception, number: int) -> None:
    """Count and log entries that could not be stored."""
    if isinstance(error, Resting):
        events.count("write_skipped", number)
        return
    store.write_breaker.failed()
    events.count("write_error", number)
    events.logger.warning(
        "Alias %r could not store %d entries: %s: %s",
        store.alias,
        number,
        type(error).__name__,
        error,
    )


def announce(store: Store, items: Sequence[Item], records: Sequence[EntryRecord]) -> None:
    """Tell the index of stored entries, and whoever listens to `entry_stored`."""
    recorder.entries(records)
    tell(store, items)


def tell(store: Store, items: Sequence[Item]) -> None:
    """Send `entry_stored` for each stored entry, if anybody listens."""
    if not signals.entry_stored.receivers:
        return
    for item in items:
        signals.entry_stored.send_robust(
            sender=Store,
            alias=store.alias,
            digest=item.digest,
            ttl=item.ttl,
            size=len(item.data),
            header=unseal(item.digest, item.data, signed=store.signed).header,
        )


def _store(
    store: Store,
    items: Sequence[Item],
    records: Sequence[EntryRecord],
    written: Written,
    vectors: Sequence[Vector],
) -> None:
    try:
        write_now(store, items, records, vectors)
    finally:
        written()


class _Worker:
    """One thread and its queue, started on first use, and afresh in a forked child."""

    def __init__(self) -> None:
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._queue: queue.Queue[Job | None] = queue.Queue(1000)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def put(
        self,
        store: Store,
        items: Sequence[Item],
        records: Sequence[EntryRecord],
        written: Written,
        vectors: Sequence[Vector],
    ) -> bool:
        """Hand entries to the thread; False if there is none, or its queue is full."""
        return self.put_job((store, items, records, written, vectors))

    def put_job(self, job: Job) -> bool:
        """As `put`, for any work."""
        if self._thread is None and not self._start():
            return False
        try:
            self._queue.put_nowait(job)
        except queue.Full:
            events.count("writer_full")
            return False
        return True

    def _start(self) -> bool:
        with self._lock:
            if self._thread is None:
                self._thread = threads.started(self._run, "writer")
            return self._thread is not None

    def _run(self) -> None:
        while (job := self._queue.get()) is not _STOP:
            try:
                if callable(job):
                    job()
                else:
                    _store(*job)
            finally:
                self._queue.task_done()
        self._queue.task_done()

    def flush(self) -> None:
        """Wait until all that was handed over is stored."""
        if self._thread is not None:
            self._queue.join()

    def stop(self) -> None:
        """Store what is left and end the thread; called when the interpreter exits."""
        thread = self._thread
        if thread is not None:
            self._queue.put(_STOP)
            thread.join(timeout=10)


_worker = _Worker()
flush = _worker.flush
stop = _worker.stop
atexit.register(stop)
os.register_at_fork(after_in_child=_worker._start_afresh)
