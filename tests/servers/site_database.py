"""The database of the test site itself: SQLite, or what LLMCACHE_TEST_DATABASE names.

The first process that reads the settings starts the server and stops it when it ends; it leaves the
server's URL in the environment, so test workers and sites that tests start use the same one.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

VARIABLES = {"postgres": "LLMCACHE_TEST_DATABASE_URL", "mariadb": "LLMCACHE_TEST_MARIADB_URL"}


def chosen() -> dict[str, Any]:
    """The entry of DATABASES for the site.

    Raises:
        ValueError: LLMCACHE_TEST_DATABASE names no database that is known here.
        ImportError, Missing: this machine lacks the server or its driver.
    """
    name = os.environ.get("LLMCACHE_TEST_DATABASE") or "sqlite"
    if name == "sqlite":
        return _sqlite()
    if name not in VARIABLES:
        known = f"sqlite, {' or '.join(VARIABLES)}"
        raise ValueError(f"LLMCACHE_TEST_DATABASE is {known}, not {name!r}")
    server = import_module(f"tests.servers.{name}")
    started = ExitStack()
    settings = started.enter_context(server.running())
    atexit.register(started.close)
    os.environ.setdefault(VARIABLES[name], server.url(settings))
    return settings


def _sqlite() -> dict[str, Any]:
    # A file, not memory: async code reaches the database from another thread.
    name = str(Path(tempfile.gettempdir()) / f"llmcache-tests-{os.getpid()}.sqlite3")
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "TEST": {"NAME": name}}
