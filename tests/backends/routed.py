"""A second database that the settings don't name, with a router that sends cache tables there."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from django.test import override_settings

ALIAS = "caches"


class CacheRouter:
    """Reads and writes of DatabaseCache go to the second database, and so do its tables."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return ALIAS if model._meta.app_label == "django_cache" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return db == ALIAS if app_label == "django_cache" else None


def add_database(request: pytest.FixtureRequest, database: dict[str, Any]) -> None:
    """Make a database known as ALIAS for one test, and the router with it."""
    blocker = request.getfixturevalue("django_db_blocker").unblock()
    blocker.__enter__()
    request.addfinalizer(lambda: blocker.__exit__(None, None, None))
    known = connections.configure_settings({"default": {}, ALIAS: database})
    connections.settings[ALIAS] = known[ALIAS]
    changed = override_settings(DATABASE_ROUTERS=[f"{__name__}.CacheRouter"])
    changed.enable()

    def remove() -> None:
        changed.disable()
        connections[ALIAS].close()
        del connections[ALIAS], connections.settings[ALIAS]

    request.addfinalizer(remove)
