"""Notes of calls and new entries on their way to the database, off the callers' threads.

A call leaves a small record in a bounded buffer; one thread of the process writes what has gathered
every FLUSH_INTERVAL seconds, or sooner if the buffer is half full, over a connection of its own. It
also applies evictions of other processes to this one's memory. The buffer never blocks and never
raises: what does not fit is dropped and counted, and the count is a row among the figures.

The thread starts with the first record, in a forked child anew, and writes what is left when the
interpreter or the worker exits. In a test run no thread starts: call `flush()`, and the rows are in
the test's own transaction.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.core.signals import setting_changed
from django.db import connections
from django.utils.module_loading import import_string

from llmcache import conf, events, threads
from llmcache.delivery import Batch, Delivery
from llmcache.outcome import FAILED, SERVED, CacheInfo
from llmcache.records import CallRecord, EntryRecord

if TYPE_CHECKING:
    from llmcache.plans import Plan

_LONGEST_PAUSE: Final = 30.0  # seconds between two tries of a database that is away
_AT_EXIT: Final = 5.0  # seconds that the last writing may take
_BATCH: Final = 10_000
LEFT: Final = "left before its end"
"""The reason of a live stream's call whose reader went away."""


class Recorder:
    """The buffer and the thread of one process.

    Attributes:
        companions: what else is to write what it has when the process ends.
    """

    def __init__(self) -> None:
        self.companions: list[Callable[[], None]] = []
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._calls: deque[tuple[Any, ...]] = deque()
        self._entries: deque[EntryRecord] = deque()
        self._delivery = Delivery()
        self._lost = 0  # ever
        self._told = 0  # of these, in the figures
        self._thread: threading.Thread | None = None
        self._is_alone = False  # there could be no thread
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._writing = threading.RLock()
        self._starting = threading.Lock()
        self._reset(setting="LLMCACHE_CONFIG")

    def _reset(self, *, setting: str, **kwargs: object) -> None:
        if setting in (
            "LLMCACHE_CONFIG",
            "DATABASES",
            "DATABASE_ROUTERS",
            "INSTALLED_APPS",
            "USE_TZ",
        ):
            self._on: bool | None = None
            self._most = self._enough = 0
            self._caller: Callable[[], str | None] | None = None

    # --- what the drivers call ---

    @property
    def is_on(self) -> bool:
        """Whether anything is recorded at all."""
        if self._on is None:
            try:
                self._read_settings()
            except Exception as error:
                events.warn_once("record_error", "Calls cannot be recorded: %r", error)
        return bool(self._on)

    def _read_settings(self) -> None:
        config = conf.config()
        self._most = config.buffer_size
        self._enough = max(1, config.buffer_size // 2)
        caller = config.caller
        self._caller = import_string(caller) if isinstance(caller, str) else caller
        self._on = (
            config.recorder != "off"
            and settings.USE_TZ
            and apps.is_installed("llmcache")
            and _has_database()
        )

    def call(self, plan: Plan, info: CacheInfo, now: float, *, wake: bool = True) -> None:
        """Note how a call ended.

        Args:
            now: unix seconds.
            wake: whether the thread may be started and woken, for which locks are taken.
        """
        if not self._on and not self.is_on:
            return
        try:
            call, source = plan.call, info.source
            outcome = info.outcome
            calls = self._calls
            waiting = len(calls) + 1
            if waiting > self._most:
                self._lost += 1
                return
            # A plain tuple, the fields of CallRecord: half the time, and the collector skips it.
            calls.append(
                (
                    now,
                    outcome,
                    info.reason,
                    info.alias,
                    info.key,
                    call.kind,
                    call.model,
                    plan.namespace,
                    plan.scope,
                    call.controls.caller or (self._label() if self._caller else None),
                    info.layer,
                    call.stream,
                    info.latency,
                    info.age,
                    info.similarity,
                    info.lookup_cost,
                    outcome in SERVED,
                    source.noted if source is not None else None,
                )
            )
            if not wake:
                return
            if self._thread is None:
                self._start()
            if waiting >= self._enough and not self._wake.is_set():
                self._wake.set()
        except Exception as error:
            events.warn_once("record_error", "A call could not be recorded: %r", error)

    def _label(self) -> str | None:
        try:
            return self._caller() if self._caller else None
        except Exception as error:
            events.warn_once("record_error", "CALLER failed: %r", error)
            return None

    def failure(self, plan: Plan, error: BaseException) -> None:
        """Note that a call ended in an error."""
        info = plan.info(FAILED, f"{type(error).__name__}: {error}")
        self.call(plan, info, time())

    def stream_opened(self) -> None:
        """Be ready for a stream that is left before its end."""
        if self._thread is None and self.is_on:
            self._start()

    def stream_left(self, plan: Plan, info: CacheInfo, now: float) -> None:
        """Note that nobody reads a stream any more, which may never have come to its end.

        Takes no lock: the collector of garbage may end a forgotten stream at any moment.
        """
        info.reason = LEFT
        info.latency = perf_counter() - plan.started
        self.call(plan, info, now, wake=False)

    def entries(self, records: Sequence[EntryRecord]) -> None:
        """Note that a store has taken new entries."""
        if not records or not self.is_on:
            return
        waiting = self._entries
        for record in records:
            if len(waiting) >= self._most:
                self._lost += 1
                events.warn_once(
                    "unindexed", "Entries are stored but not in the index: run llmcache_reindex"
                )
            else:
                waiting.append(record)
        if self._thread is None:
            self._start()
        if len(waiting) >= self._enough:
            self._wake.set()

    # --- the thread ---

    def _start(self) -> None:
        if in_test_run():
            return
        with self._starting:
            if self._thread is None:
                is_first = not self._is_alone
                self._thread = threads.started(self._run, "recorder")
                self._is_alone = self._thread is None
                # Children of multiprocessing leave without atexit.
                if is_first and "multiprocessing" in sys.modules:
                    from multiprocessing.util import Finalize

                    Finalize(None, self.stop, exitpriority=10)

    def _run(self) -> None:
        self._read_evictions()
        while True:
            self._pause()
            last = self._stopping.is_set()
            self._read_evictions()
            self._write_out()  # whatever happens the thread must not end: no other takes its place
            if last:
                connections.close_all()
                return

    def _pause(self) -> None:
        interval = conf.config().flush_interval
        failures = self._delivery.failures
        if failures:  # a full buffer is no reason to try sooner
            self._stopping.wait(min(_LONGEST_PAUSE, interval * 2 ** min(failures, 10)))
        else:
            self._wake.wait(interval)
        self._wake.clear()

    def _read_evictions(self) -> None:
        try:
            # Imported here, as all that knows the models: this module is imported before they are.
            from llmcache import invalidation

            invalidation.poller.poll()
        except Exception as error:
            events.warn_once("poll_error", "The eviction log cannot be read: %s", error)

    def _write_out(self) -> None:
        try:
            self.flush()
            for connection in connections.all(initialized_only=True):
                connection.close_if_unusable_or_obsolete()
        except Exception as error:
            events.warn_once("flush_error", "Records could not be written: %r", error)

    def stop(self) -> None:
        """Write what is left and end the thread."""
        for companion in self.companions:
            companion()
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._stopping.set()
            self._wake.set()
            if thread is not threading.current_thread():
                thread.join(timeout=_AT_EXIT)
        elif self._is_alone:
            self._write_out()
        else:  # what is left of tests, whose database has gone
            return
        if self.waiting:
            events.logger.warning(
                "%s records could not be written before the process ended.", self.waiting
            )

    # --- writing ---

    def flush(self) -> bool:
        """Write all that waits, in this thread and over its connection.

        Returns:
            False when the database did not take it: it is tried again later.
        """
        with self._writing:
            while batch := self._delivery.waiting or self._take():
                if not self._delivery.deliver(batch):
                    return False
            return True

    def _take(self) -> Batch:
        calls, entries, delivery = self._calls, self._entries, self._delivery
        taken = [CallRecord(*calls.popleft()) for _ in range(min(len(calls), _BATCH))]
        stored = [entries.popleft() for _ in range(min(len(entries), _BATCH))]
        lost, self._told = self.dropped + delivery.lost, self._lost
        delivery.lost = 0
        return Batch(taken, stored, lost)

    @property
    def dropped(self) -> int:
        """How many records were dropped since the last writing, for want of room."""
        return self._lost - self._told

    @property
    def dropped_ever(self) -> int:
        """How many records this process has dropped so far, for want of room."""
        return self._lost

    @property
    def waiting(self) -> int:
        """How many records have not been written yet."""
        return len(self._calls) + len(self._entries) + len(self._delivery.waiting or ())


def _has_database() -> bool:
    from llmcache.invalidation import database

    engine = connections.settings[database()].get("ENGINE", "")
    return engine not in ("", "django.db.backends.dummy")


def in_test_run() -> bool:
    """Whether tests run: a thread would write past their transactions."""
    test_utils = sys.modules.get("django.test.utils")
    return test_utils is not None and hasattr(test_utils._TestState, "saved_data")


recorder: Final = Recorder()
flush: Final = recorder.flush
aflush: Final = sync_to_async(recorder.flush)
"""As `flush`, for async code."""
setting_changed.connect(recorder._reset, dispatch_uid="llmcache.recorder.reset")
atexit.register(recorder.stop)
os.register_at_fork(after_in_child=recorder._start_afresh)
