"""Entries in a file of SQLite's."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import time
from typing import Any

from django.core.checks import CheckMessage, Warning
from django.core.exceptions import ImproperlyConfigured

from llmcache.backends.base import BaseBackend, Item
from llmcache.conf import BackendSettings
from llmcache.options import Options

DEFAULTS: Mapping[str, Any] = {"synchronous": "NORMAL", "timeout": 5.0}
LEVELS = ("OFF", "NORMAL", "FULL")
PAGE = 500
TABLE = (
    "CREATE TABLE IF NOT EXISTS entries (prefix TEXT, digest TEXT, data BLOB NOT NULL,"
    " expires REAL NOT NULL, PRIMARY KEY (prefix, digest)) WITHOUT ROWID"
)


class SqliteBackend(BaseBackend):
    """LOCATION: the file; made on first use.

    OPTIONS:
        synchronous (str): how sure a write is: "OFF", "NORMAL" or "FULL".
        timeout (float): seconds to wait for another process that writes.
    """

    def __init__(self, settings: BackendSettings) -> None:
        super().__init__(settings)
        options = Options(settings, DEFAULTS)
        self._timeout = options.seconds("timeout")
        self._level = options.one_of("synchronous", LEVELS)
        if not settings.location:
            raise ImproperlyConfigured(f"{settings.setting}['LOCATION'] must name a file.")
        self._path = Path(settings.location)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # A connection for each: none is shared by threads, nor inherited by a forked child.
        connection = sqlite3.connect(self._path, timeout=self._timeout)
        try:
            connection.execute(f"PRAGMA synchronous = {self._level}")
            connection.execute(TABLE)
            with connection:
                yield connection
        finally:
            connection.close()

    def get(self, digest: str) -> bytes | None:
        return self.get_many([digest]).get(digest)

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        sql = "SELECT data FROM entries WHERE prefix = ? AND digest = ? AND expires > ?"
        found = {}
        with self._transaction() as connection:
            for digest in digests:
                row = connection.execute(sql, (self.prefix, digest, time())).fetchone()
                if row is not None:
                    found[digest] = row[0]
        return found

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        self.set_many([Item(digest, data, ttl)])

    def set_many(self, items: Iterable[Item]) -> None:
        rows = [(self.prefix, item.digest, item.data, _end(item.ttl)) for item in items]
        with self._transaction() as connection:
            connection.executemany("REPLACE INTO entries VALUES (?, ?, ?, ?)", rows)

    def delete(self, digest: str) -> bool:
        sql = "DELETE FROM entries WHERE prefix = ? AND digest = ? AND expires > ?"
        return self._change(sql, self.prefix, digest, time()) > 0

    def touch(self, digest: str, ttl: float | None) -> bool:
        sql = "UPDATE entries SET expires = ? WHERE prefix = ? AND digest = ? AND expires > ?"
        return self._change(sql, _end(ttl), self.prefix, digest, time()) > 0

    def replace(self, digest: str, old: bytes, data: bytes, ttl: float | None) -> bool:
        sql = (
            "UPDATE entries SET data = ?, expires = ?"
            " WHERE prefix = ? AND digest = ? AND expires > ? AND data = ?"
        )
        return self._change(sql, data, _end(ttl), self.prefix, digest, time(), old) > 0

    def clear(self) -> int:
        self._change("DELETE FROM entries WHERE prefix = ? AND expires <= ?", self.prefix, time())
        return self._change("DELETE FROM entries WHERE prefix = ?", self.prefix)

    def iterate(self) -> Iterator[str]:
        sql = (
            "SELECT digest FROM entries WHERE prefix = ? AND digest > ? AND expires > ?"
            " ORDER BY digest LIMIT ?"
        )
        last = ""
        while True:
            with self._transaction() as connection:
                page = connection.execute(sql, (self.prefix, last, time(), PAGE)).fetchall()
            if not page:
                return
            yield from (digest for (digest,) in page)
            last = page[-1][0]

    def sweep(self, limit: int = 1000) -> int:
        sql = (
            "DELETE FROM entries WHERE prefix = ? AND digest IN"
            " (SELECT digest FROM entries WHERE prefix = ? AND expires <= ? LIMIT ?)"
        )
        return self._change(sql, self.prefix, self.prefix, time(), limit)

    def _change(self, sql: str, *values: Any) -> int:
        with self._transaction() as connection:
            return connection.execute(sql, values).rowcount

    def check(self) -> list[CheckMessage]:
        if self._level != "OFF":
            return []
        return [
            Warning(
                f"LLMCACHE[{self.alias!r}] may lose entries when its machine loses power.",
                hint='Set OPTIONS["synchronous"] to "NORMAL".',
                id="thirdparty.W001",
            )
        ]


def _end(ttl: float | None) -> float:
    return math.inf if ttl is None else time() + ttl
