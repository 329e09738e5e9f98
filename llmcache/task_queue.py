"""Handing work to a worker: to Celery, or to Django's own tasks.

A broker that does not answer costs a count and a log line, and the caller does the work itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Final

from llmcache import backends, conf, events
from llmcache.backends.base import BaseBackend
from llmcache.breaker import Breaker
from llmcache.records import CallRecord, EntryRecord

QUEUES: Final = {"celery": "llmcache.tasks", "django.tasks": "llmcache.django_tasks"}
"""The settings' names of task queues, and the modules that have the tasks for each."""
RECORDS_A_TASK: Final = 1000
LARGEST: Final = 1 << 20
"""Bytes of one task's data; a broker is no place for more."""

Batch = tuple[list[CallRecord], list[EntryRecord], int]

_breakers: Final = {queue: Breaker() for queue in QUEUES}
_in_place: ContextVar[bool] = ContextVar("llmcache.in_place", default=False)


@contextmanager
def in_place() -> Iterator[None]:
    """Within it, nothing of this thread or task goes to a worker or to another thread: it is one,
    or it needs the result at once.
    """
    token = _in_place.set(True)
    try:
        yield
    finally:
        _in_place.reset(token)


def is_in_place() -> bool:
    """Whether `in_place` holds here."""
    return _in_place.get()


def chosen() -> str | None:
    """The queue that WRITER names; None where it names none, and within `in_place`."""
    writer = conf.config().writer
    return writer if writer in QUEUES and not _in_place.get() else None


def reaches(backend: BaseBackend) -> bool:
    """Whether a worker has the same store: the settings name it, and no part of it is in the memory
    of this process alone.
    """
    named = backend.alias in conf.backends() and backends.stores[backend.alias] is backend
    return named and not _has_memory(backend)


def _has_memory(backend: BaseBackend) -> bool:
    return any(map(_has_memory, backend.layers)) if backend.layers else backend.process_local


def send(queue: str, task: str, **arguments: Any) -> bool:
    """Queue one task.

    Args:
        queue: a key of QUEUES.
        task: a function of `llmcache.jobs`.
        arguments: JSON values.

    Returns:
        False when the queue did not take it; the caller then does the work itself.
    """
    breaker = _breakers[queue]
    if not breaker.allows():
        events.count("queue_skipped")
        return False
    try:
        import_module(QUEUES[queue]).enqueue(task, arguments)
    except Exception as error:
        breaker.failed()
        events.warn_once(
            "queue_error", "%s takes no tasks, so they are done in place: %r", queue, error
        )
        return False
    breaker.succeeded()
    return True


def send_records(
    queue: str, calls: Sequence[CallRecord], entries: Sequence[EntryRecord], lost: int
) -> Batch:
    """Queue a batch of records, in one task or several.

    Returns:
        What the queue did not take.
    """
    for start in range(0, max(len(calls), len(entries), 1), RECORDS_A_TASK):
        part = slice(start, start + RECORDS_A_TASK)
        taken = send(
            queue,
            "flush_records",
            calls=[record.as_json() for record in calls[part]],
            entries=[record.as_json() for record in entries[part]],
            lost=0 if start else lost,
            batch_id=str(uuid.uuid4()),
        )
        if not taken:
            return list(calls[start:]), list(entries[start:]), 0 if start else lost
    return [], [], 0
