"""The one task of Django's own framework (`django.tasks`, Django 6.0 and newer) over
`llmcache.jobs`.

It goes to the backend `TASKS["default"]`. That framework tries nothing again by itself: an entry
that its worker could not store is asked for once more by the next caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction

try:
    from django.tasks import task
except ImportError as error:
    raise ImproperlyConfigured(
        'WRITER and RECORDER of LLMCACHE_CONFIG can be "django.tasks" only with Django 6.0 or '
        'newer; use "celery" or "thread".'
    ) from error

from llmcache import jobs


@task
def do(job: str, arguments: dict[str, Any]) -> Any:
    """Do one of `jobs.JOBS`."""
    return jobs.JOBS[job](**arguments)


def enqueue(job: str, arguments: Mapping[str, Any]) -> None:
    """Hand one job to the framework.

    Raises:
        Exception: its backend has not taken it.
    """
    with ExitStack() as stack:
        for connection in connections.all(initialized_only=True):
            if connection.in_atomic_block:  # a backend's failed query must not spoil the caller's
                stack.enter_context(transaction.atomic(using=connection.alias))
        do.enqueue(job, dict(arguments))
