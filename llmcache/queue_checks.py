"""System checks of WRITER and RECORDER where they name a task queue: is it there, does anybody
take from it, and can its workers reach the store.

    llmcache.E005   a task queue that is not installed, or that this Django does not have
    llmcache.W107   a task queue with nobody behind it
    llmcache.W108   a task queue whose workers cannot reach the default store
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Final

import django
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from llmcache import backends, conf, task_queue

_DO_NOTHING: Final = ("ImmediateBackend", "DummyBackend")


def check_queues() -> list[CheckMessage]:
    """Messages about the queue's package and its broker."""
    messages: list[CheckMessage] = []
    config = conf.config()
    for name, queue in (("WRITER", config.writer), ("RECORDER", config.recorder)):
        if queue == "celery":
            messages += _check_celery(name)
        elif queue == "django.tasks":
            messages += _check_django_tasks(name)
    return messages


def _check_celery(name: str) -> list[CheckMessage]:
    if find_spec("celery") is None:
        return [
            Error(
                f'LLMCACHE_CONFIG[{name!r}] is "celery", which is not installed.',
                hint='Run: pip install "django-llmcache[celery]"',
                id="llmcache.E005",
            )
        ]
    if import_module("celery").current_app.conf.broker_write_url:
        return []
    return [
        Warning(
            f'LLMCACHE_CONFIG[{name!r}] is "celery", but Celery has no broker_url.',
            hint="Set CELERY_BROKER_URL, and import the site's Celery application in the "
            "__init__.py of its project; until then everything is done in place.",
            id="llmcache.W107",
        )
    ]


def _check_django_tasks(name: str) -> list[CheckMessage]:
    if django.VERSION < (6,):
        return [
            Error(
                f'LLMCACHE_CONFIG[{name!r}] is "django.tasks", which this Django '
                f"({django.get_version()}) does not have.",
                hint='Use Django 6.0 or newer, or "celery".',
                id="llmcache.E005",
            )
        ]
    backend = str(settings.TASKS.get("default", {}).get("BACKEND", ""))
    if not backend.endswith(_DO_NOTHING):
        return []
    what = "does every task at once" if "Immediate" in backend else "does no task at all"
    return [
        Warning(
            f'LLMCACHE_CONFIG[{name!r}] is "django.tasks", and TASKS["default"] is {backend!r}, '
            f"which {what}.",
            hint='Set a backend with a worker in TASKS["default"], such as that of the package '
            "django-tasks-db.",
            id="llmcache.W107",
        )
    ]


def check_reach() -> list[CheckMessage]:
    """A message if the workers cannot reach the default store."""
    writer = conf.config().writer
    if writer not in task_queue.QUEUES or task_queue.reaches(backends.stores[conf.DEFAULT_ALIAS]):
        return []
    return [
        Warning(
            f"LLMCACHE_CONFIG['WRITER'] is {writer!r}, but LLMCACHE['default'] is wholly or partly "
            "in the memory of each process, so its entries are written in place.",
            hint='Use a store that workers share, or the WRITER "thread".',
            id="llmcache.W108",
        )
    ]
