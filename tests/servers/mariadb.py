"""A real MariaDB of Debian's package mariadb-server; or the one at LLMCACHE_TEST_MARIADB_URL."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest

from tests.servers.ports import Missing, free_port, room_for_sockets, wait_for

CHARSET = {"charset": "utf8mb4"}


def use_driver() -> None:
    """Let Django find a driver under the name MySQLdb: mysqlclient, or else PyMySQL.

    Raises:
        Missing: neither is installed.
    """
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        try:
            import pymysql
        except ImportError as error:
            raise Missing("neither mysqlclient nor pymysql is installed") from error
        pymysql.version_info = (2, 2, 7, "final", 0)  # Django asks for one of mysqlclient's
        pymysql.install_as_MySQLdb()


def database_settings(url: str) -> dict[str, Any]:
    """A MariaDB URL as an entry of Django's DATABASES."""
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.mysql",
        "NAME": unquote(parts.path.lstrip("/")) or "llmcache",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "127.0.0.1",
        "PORT": str(parts.port or ""),
        "OPTIONS": CHARSET,
    }


def url(settings: dict[str, Any]) -> str:
    """An entry of DATABASES as a MariaDB URL."""
    name, *login, host, port = (
        quote(settings[key], safe="") for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")
    )
    return f"mysql://{':'.join(login)}@{host}:{port}/{name}"


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Missing(f"the program {name} is not installed")
    return found


def _prepare(directory: Path) -> list[str]:
    """Make the server's own tables; the arguments that it starts with."""
    shared = ["--no-defaults", f"--datadir={directory / 'data'}", f"--user={getuser()}"]
    subprocess.run(
        [
            *(_program("mariadb-install-db"), *shared, "--skip-test-db", "--skip-name-resolve"),
            "--auth-root-authentication-method=normal",
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return shared


@contextmanager
def running() -> Iterator[dict[str, Any]]:
    """A server with an empty database of our own, as an entry of DATABASES.

    Raises:
        Missing: there is no URL, and no server or no driver is installed.
    """
    use_driver()
    given = os.environ.get("LLMCACHE_TEST_MARIADB_URL", "")
    if given:
        yield database_settings(given)
        return
    server = _program("mariadbd")
    with room_for_sockets() as name:
        directory, port = Path(name), free_port()
        process = subprocess.Popen(
            [
                *(server, *_prepare(directory), f"--port={port}", "--bind-address=127.0.0.1"),
                *(f"--socket={directory / 's'}", f"--pid-file={directory / 'pid'}"),
                *("--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2"),
                *("--character-set-server=utf8mb4", "--skip-log-bin"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(port, process)
            settings = database_settings(f"mysql://root@127.0.0.1:{port}/")
            with fresh(settings) as own:
                yield own
        finally:
            process.terminate()
            process.wait()


@contextmanager
def fresh(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An empty database on the same server, dropped afterwards."""
    import MySQLdb

    name = f"llmcache_{uuid.uuid4().hex[:12]}"

    def run(statement: str) -> None:
        connection = MySQLdb.connect(
            host=settings["HOST"],
            port=int(settings["PORT"] or 3306),
            user=settings["USER"],
            password=settings["PASSWORD"],
        )
        connection.cursor().execute(statement)
        connection.close()

    run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    try:
        yield {**settings, "NAME": name}
    finally:
        run(f"DROP DATABASE {name}")


@pytest.fixture(scope="session")
def mariadb() -> Iterator[dict[str, Any]]:
    """The MariaDB of this test process, as an entry of DATABASES."""
    from tests.conftest import missing

    try:
        with running() as settings:
            yield settings
    except Missing as error:
        missing("MariaDB", error)
