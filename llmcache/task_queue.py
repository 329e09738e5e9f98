"""Handing work to a worker: to Celery, or to Django's own tasks.

A broker that does not answer costs a count and a log line, and the caller does the work itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

from llmcache import events
from llmcache.breaker import Breaker
from llmcache.records import CallRecord, EntryRecord

QUEUES: Final = {"celery": "llmcache.tasks", "django.tasks": "llmcache.django_tasks"}
"""The settings' names of task queues, and the modules that have the tasks for each."""
RECORDS_A_TASK: Final = 1000

_breakers: Final = {queue: Breaker() for queue in QUEUES}


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
) -> bool:
    """Queue a batch of records in one task or several; False when none was taken.

    A part that is not taken after another was is written in place.
    """
    from llmcache import jobs

    sent = False
    for start in range(0, max(len(calls), len(entries), 1), RECORDS_A_TASK):
        part = slice(start, start + RECORDS_A_TASK)
        arguments: dict[str, Any] = {
            "calls": [record.as_json() for record in calls[part]],
            "entries": [record.as_json() for record in entries[part]],
            "lost": 0 if start else lost,
            "batch_id": str(uuid.uuid4()),
        }
        if send(queue, "flush_records", **arguments):
            sent = True
        elif not sent:
            return False
        else:
            jobs.flush_records(**arguments)
    return sent
