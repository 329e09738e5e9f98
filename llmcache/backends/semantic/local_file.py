"""The file of vectors beside a store on disk: SQLite in WAL mode, shared by many processes. Here it
is opened, made and, when it is damaged, set aside; `local_rows` reads and writes it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

T = TypeVar("T")

logger = logging.getLogger("llmcache")

# A row's number is never used again. Whatever removes a row or moves its expiry also says so in
# `changes`, from which other processes learn it.
_SCHEMA: Final = (
    "CREATE TABLE file (made TEXT NOT NULL)",
    """CREATE TABLE vectors (
        id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, digest TEXT NOT NULL,
        place TEXT NOT NULL, prompt TEXT NOT NULL, data BLOB NOT NULL, expires REAL NOT NULL,
        UNIQUE (owner, digest))""",
    "CREATE INDEX by_place ON vectors (place, id)",
    "CREATE INDEX by_expiry ON vectors (expires)",
    """CREATE TABLE changes (
        number INTEGER PRIMARY KEY AUTOINCREMENT, place TEXT NOT NULL, id INTEGER NOT NULL,
        expires REAL NOT NULL)""",
    "CREATE INDEX changes_by_place ON changes (place, number)",
    """CREATE TRIGGER removed AFTER DELETE ON vectors BEGIN
        INSERT INTO changes (place, id, expires) VALUES (old.place, old.id, 0.0); END""",
    """CREATE TRIGGER moved AFTER UPDATE OF expires ON vectors BEGIN
        INSERT INTO changes (place, id, expires) VALUES (new.place, new.id, new.expires); END""",
)
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class VectorFile:
    """One connection to the file, for all threads of a process; a forked child opens its own.

    Args:
        timeout: seconds to wait for another process that writes.
        turn: while its context lasts, no other process that uses the file is in it.

    Attributes:
        lock: held while the connection is used.
        made: the name of this very file: in another one the same numbers are other rows.
    """

    def __init__(
        self, path: Path, timeout: float, turn: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        self.path = path
        self.lock = threading.RLock()
        self.made = ""
        self._timeout = timeout
        self._turn = turn
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._parents: list[sqlite3.Connection] = []

    def start_afresh(self) -> None:
        """In a forked child: leave the parent's connection alone, which closing would harm."""
        if self._connection is not None:
            self._parents.append(self._connection)
            self._connection = None
        self.lock = threading.RLock()

    def close(self) -> None:
        with self.lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns, from this file or, if it turns out damaged, from a new one.

        Raises:
            sqlite3.Error: the file is locked for too long, the disk is full and so on.
        """
        with self.lock:
            try:
                return self._attempt(work)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._set_aside(error)
                return self._attempt(work)

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._current()
        try:
            return work(connection)
        except BaseException:
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise

    def _current(self) -> sqlite3.Connection:
        if self._connection is not None:
            if _identity(self.path) == self._identity:
                return self._connection
            self.close()  # another process has set the file aside, or somebody has removed it
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )
        self._identity = _identity(self.path)
        try:
            # What others have damaged must not stop the listing of the rest.
            connection.text_factory = _text
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            self.made = _prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _set_aside(self, error: Exception) -> None:
        damaged = self._identity
        self.close()
        with self._turn():
            if _identity(self.path) != damaged:
                return  # another process was quicker
            aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
            for end in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    Path(f"{self.path}{end}").replace(f"{aside}{end}")
        logger.error(
            "llmcache: the vectors in %s cannot be read (%s); set aside as %s and begun anew",
            *(self.path, error, aside.name),
        )


def _prepare(connection: sqlite3.Connection) -> str:
    """Make the tables if they are not there; the file's name."""
    made = _made(connection)
    if made is None:
        connection.execute("BEGIN IMMEDIATE")
        made = _made(connection)
        if made is None:
            made = uuid.uuid4().hex
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("INSERT INTO file VALUES (?)", (made,))
        connection.execute("COMMIT")
    return made


def _made(connection: sqlite3.Connection) -> str | None:
    known = "SELECT 1 FROM sqlite_master WHERE type = 'table' LIMIT 1"
    if connection.execute(known).fetchone() is None:
        return None
    row = connection.execute("SELECT made FROM file").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("no such row in the table of the file's name")
    return str(row[0])


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether no later attempt can succeed: bytes that are no database, or other tables in it."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    return code in _DAMAGE or str(error).startswith("no such ")
