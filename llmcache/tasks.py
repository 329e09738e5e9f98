"""Celery's tasks over `llmcache.jobs`, named `llmcache.*`; `app.autodiscover_tasks()` finds them.

A task that fails because a store or the database did is tried again, with longer and longer pauses.
A worker's process writes down what it has recorded before it ends.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

try:
    from celery import Celery, shared_task, signals
except ImportError as error:
    raise ImportError(
        'llmcache.tasks needs Celery: install "django-llmcache[celery]", or leave WRITER and '
        "RECORDER of LLMCACHE_CONFIG at values that do not name it."
    ) from error
from django.db import InterfaceError, OperationalError

from llmcache import jobs
from llmcache.process_end import write_down

PATIENCE: Final = 1.0
"""Seconds that the broker may take to connect, and to take one message."""
_LIMITS: Final = {
    "max_retries": 0,
    "socket_timeout": PATIENCE,
    "socket_connect_timeout": PATIENCE,
    "read_timeout": PATIENCE,
    "write_timeout": PATIENCE,
}
_OPTIONS: Final = {
    "acks_late": True,
    "autoretry_for": (jobs.StoreFailed, InterfaceError, OperationalError),
    "ignore_result": True,
    "max_retries": 6,
    "retry_backoff": 2,
    "retry_backoff_max": 600,
    "serializer": "json",
}

TASKS: Final[dict[str, Any]] = {
    name: shared_task(name=f"llmcache.{name}", **_OPTIONS)(job) for name, job in jobs.JOBS.items()
}


def enqueue(task: str, arguments: Mapping[str, Any]) -> None:
    """Publish one task, over connections of our own that give up soon.

    Celery's own would try a broker that is away again and again, while a request waits.

    Raises:
        Exception: the broker has not taken it, within about twice PATIENCE.
    """
    celery_task = TASKS[task]
    with _pool(celery_task.app).acquire(block=True, timeout=PATIENCE) as connection:
        try:
            producer = celery_task.app.amqp.Producer(connection, auto_declare=False)
            celery_task.apply_async(kwargs=dict(arguments), producer=producer, retry=False)
        except Exception:
            with suppress(Exception):
                connection.collapse()  # or the next task would find it broken too
            raise


_pools: dict[int, Any] = {}
_parents: Final[list[Any]] = []


def _pool(app: Celery) -> Any:
    """The connections of an app, as its own but for their patience."""
    if id(app) not in _pools:
        connection = app.connection_for_write(connect_timeout=PATIENCE, transport_options=_LIMITS)
        _pools[id(app)] = connection.Pool(limit=app.conf.broker_pool_limit or 10)
    return _pools[id(app)]


def _start_afresh() -> None:
    """In a forked child: its parent's connections are kept, unused, so that nothing closes them."""
    _parents.append(dict(_pools))
    _pools.clear()


os.register_at_fork(after_in_child=_start_afresh)


def _write_down(**kwargs: object) -> None:
    # A worker's children leave without the interpreter's own functions at exit.
    write_down()


signals.worker_process_shutdown.connect(_write_down, dispatch_uid="llmcache.tasks.write_down")
