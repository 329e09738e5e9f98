"""How the recorder's batches get into the database: each once, in spite of all that can go wrong.

A batch that the database does not take, as it is away or not migrated, is kept and tried again. A
batch in which something cannot be written is halved again and again, until only that is lost.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import DataError, Error, IntegrityError, models

from llmcache import conf, events, task_queue
from llmcache.records import CallRecord, EntryRecord

_PATIENCE: Final = 2
"""So often a database that answers may refuse a batch before the batch is to blame."""


@dataclass(slots=True)
class Batch:
    """Records that are written together, under one id, and how many were dropped before them."""

    calls: list[CallRecord]
    entries: list[EntryRecord]
    lost: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __len__(self) -> int:
        return len(self.calls) + len(self.entries)

    def __bool__(self) -> bool:
        return bool(self.calls or self.entries or self.lost)


class Delivery:
    """What one process has to deliver. Not for several threads at once.

    Attributes:
        waiting: a batch that was not taken; nothing else is to be delivered before it.
        failures: how often in a row it was not taken.
        lost: how many records could not be written since this was last asked.
    """

    def __init__(self) -> None:
        self.waiting: Batch | None = None
        self.failures = 0
        self.lost = 0
        self._last: str | None = None

    def deliver(self, batch: Batch) -> bool:
        """Write a batch; False when it waits for a better time."""
        self.waiting = batch
        try:
            batch = self.waiting = _left_by_queue(batch)
            if batch:
                self._write(batch)
        except Exception as error:
            if self._may_pass(error):
                self.failures += 1
                events.warn_once(
                    "flush_error",
                    "Records wait, as the database does not take them (is it migrated?): %s",
                    error,
                )
                return False
            if not len(batch):  # not even the count of what is lost: it waits for the next batch
                self.lost += batch.lost
                self.waiting = None
                return False
            if not self._salvage(batch):
                return False
        self.waiting = None
        self.failures = 0
        return True

    def _write(self, batch: Batch) -> None:
        # Imported here, as all that knows the models: the recorder is imported before they are.
        from llmcache import ledger

        ledger.write(batch.calls, batch.entries, batch.lost, batch.id, after=self._last)
        self._last = batch.id

    def _may_pass(self, error: Exception) -> bool:
        """Whether it is the database that failed, and not what was to be written."""
        if isinstance(error, (DataError, IntegrityError)):
            return False
        if isinstance(error, Error) and self.failures < _PATIENCE:
            return True
        return not _answers()

    def _salvage(self, batch: Batch) -> bool:
        """Write all that can be written of a batch; False if the database goes away meanwhile."""
        self.lost += batch.lost
        parts: list[Sequence[Any]] = [[*batch.entries, *batch.calls]]
        while parts:
            part = parts.pop()
            try:
                self._write(_batch_of(part))
            except Exception as error:
                middle = len(part) // 2
                if not isinstance(error, (DataError, IntegrityError)) and not _answers():
                    rest = [record for each in (part, *reversed(parts)) for record in each]
                    self.waiting = _batch_of(rest)
                    return False
                if middle:
                    parts += [part[middle:], part[:middle]]
                    continue
                self.lost += len(part)
                events.warn_once("record_error", "A record cannot be written: %r", error)
        return True


def _batch_of(records: Sequence[Any]) -> Batch:
    return Batch(
        [record for record in records if isinstance(record, CallRecord)],
        [record for record in records if isinstance(record, EntryRecord)],
    )


def _left_by_queue(batch: Batch) -> Batch:
    """What of a batch is left to write here, once the task queue of RECORDER has taken its part."""
    queue = conf.config().recorder
    if queue in task_queue.QUEUES:
        rest = task_queue.send_records(queue, batch.calls, batch.entries, batch.lost)
        return Batch(*rest, batch.id)
    return batch


def _answers() -> bool:
    """Whether the database has all tables with all their columns, and lets us read them."""
    from llmcache import ledger
    from llmcache.models import Call, Entry, EntryTag, Eviction, HourlyStat, RecordBatch

    tables: tuple[type[models.Model], ...] = (
        *(Entry, EntryTag, Call, HourlyStat, Eviction, RecordBatch),
    )
    try:
        for table in tables:
            table._base_manager.using(ledger.database()).first()
    except Exception:
        return False
    return True
