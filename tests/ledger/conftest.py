"""The ledger's cases on SQLite, PostgreSQL and MariaDB alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from llmcache.recorder import recorder
from tests.ledger import databases
from tests.servers import mariadb as mariadb_server
from tests.servers import postgres as postgres_server


@pytest.fixture(autouse=True)
def empty_recorder() -> None:
    """Drop what tests without a database have left."""
    recorder._start_afresh()


@pytest.fixture(scope="session", params=["sqlite", "postgres", "mariadb"])
def database_settings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """An empty database, as an entry of DATABASES."""
    if request.param == "sqlite":
        yield databases.sqlite(tmp_path_factory.mktemp("ledger"))
        return
    fresh = {"postgres": postgres_server.fresh, "mariadb": mariadb_server.fresh}
    with fresh[request.param](request.getfixturevalue(request.param)) as settings:
        yield settings


@pytest.fixture(scope="session")
def migrated(database_settings: dict[str, Any], django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """The same database with all tables."""
    with django_db_blocker.unblock():
        databases.add(database_settings)
    yield database_settings
    with django_db_blocker.unblock():
        databases.remove()


@pytest.fixture
def database(migrated: dict[str, Any], django_db_blocker: Any) -> Iterator[str]:
    """The alias of a database with empty tables, to which everything of this app's goes."""
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())
        stack.enter_context(databases.routed())
        stack.callback(databases.empty)
        yield databases.ALIAS
