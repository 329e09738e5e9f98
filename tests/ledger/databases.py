"""The three databases that the cases run on, each as a second database of the test site: a router
sends this app's tables there, so the test site's own database stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier
from typing import Any

from django.core.management import call_command
from django.db import connections, models
from django.test import override_settings

from llmcache.models import Call, Entry, EntryTag, Eviction, HourlyStat, RecordBatch

ALIAS = "ledger"
TABLES: tuple[type[models.Model], ...] = (
    *(EntryTag, Entry, Call, HourlyStat, RecordBatch, Eviction),
)


class LedgerRouter:
    """Sends all that is llmcache's to the second database, and nothing else."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        return ALIAS if model._meta.app_label == "llmcache" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return (db == ALIAS) == (app_label == "llmcache")


_made: dict[str, Any] = {}
"""Of the second database: what `connections` is to know of it while it is in use."""


@contextmanager
def routed() -> Iterator[None]:
    """This app's tables are in the second database. Afterwards nobody knows of it: Django's checks
    ask every database that there is.
    """
    connections.settings[ALIAS] = _made[ALIAS]
    try:
        with override_settings(DATABASE_ROUTERS=[f"{__name__}.LedgerRouter"]):
            yield
    finally:
        del connections.settings[ALIAS]


def add(settings: dict[str, Any]) -> None:
    """Make this the second database, with all tables made from nothing."""
    _made[ALIAS] = connections.configure_settings({"default": {}, ALIAS: settings})[ALIAS]
    with routed():
        call_command("migrate", database=ALIAS, verbosity=0)


def remove() -> None:
    """There is no second database any more."""
    with routed():
        connections[ALIAS].close()
        del connections[ALIAS]
    _made.clear()


def empty() -> None:
    """Delete all rows."""
    for table in TABLES:
        table._base_manager.using(ALIAS).all().delete()


def sqlite(directory: Path) -> dict[str, Any]:
    """A file, as an entry of DATABASES; with the settings that Django advises for many writers."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(directory / "ledger.sqlite3"),
        "OPTIONS": {"timeout": 30},
    }


def in_threads(*functions: Callable[[], Any]) -> list[Any]:
    """Run the functions at once, each in a thread with a connection of its own."""
    start = Barrier(len(functions))

    def run(function: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))
