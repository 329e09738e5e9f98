"""The rows of the file of vectors: what is written, and what a process must read to keep up."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

from llmcache.backends.semantic.base import Vector
from llmcache.backends.semantic.local_file import VectorFile
from llmcache.backends.semantic.places import place
from llmcache.text import clean

NEVER: Final = float("inf")
# Whoever is further behind than so many changes reads its places anew.
LOG_LENGTH: Final = 10_000
_WRITTEN: Final = 500
_READ: Final = 2_000

_ADDED: Final = (
    "SELECT id, expires, data FROM vectors WHERE place = ? AND id > ?"
    " AND typeof(data) = 'blob' AND length(data) = ?"
    " AND typeof(expires) IN ('real', 'integer') ORDER BY id"
)
_ADD: Final = (
    "INSERT INTO vectors (owner, digest, place, prompt, data, expires) VALUES (?, ?, ?, ?, ?, ?)"
)
_OWNED: Final = "SELECT id, owner, digest, prompt FROM vectors WHERE owner = ? AND expires > ?"
_AFTER: Final = "SELECT id, owner, digest, prompt FROM vectors WHERE id > ? ORDER BY id LIMIT ?"
_NAMED: Final = "SELECT id, owner, digest, prompt FROM vectors WHERE expires > ? AND id IN (%s)"
_TRIM: Final = "DELETE FROM changes WHERE number <= (SELECT max(number) FROM changes) - ?"


class Batch(NamedTuple):
    """New rows of a place, in the order of their numbers."""

    ids: list[int]
    expires: list[float]
    data: bytes


class News(NamedTuple):
    """What has happened in a place: `changed` rows have a new expiry, removed ones the expiry 0."""

    changed: Sequence[tuple[int, float]]
    last_change: int


class Row(NamedTuple):
    """One stored vector, as it is at this moment."""

    id: int
    owner: str
    digest: str
    prompt: str


class VectorRows:
    """Reads and writes one file."""

    def __init__(self, file: VectorFile) -> None:
        self.file = file
        self._own_writes = 0

    def version(self) -> tuple[str, int, int]:
        """Differs from an earlier one if anything may have been written since, by any process."""

        def read(connection: sqlite3.Connection) -> int:
            found: int = connection.execute("PRAGMA data_version").fetchone()[0]
            return found

        number = self.file.run(read)
        return self.file.made, number, self._own_writes

    def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        def transaction(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            work(connection)
            connection.execute(_TRIM, (LOG_LENGTH,))
            connection.execute("COMMIT")

        with self.file.lock:
            self._own_writes += 1
            self.file.run(transaction)

    def add(self, owner: str, vectors: Iterable[Vector]) -> None:
        rows = iter(vectors)
        while batch := list(islice(rows, _WRITTEN)):
            self._write(partial(_insert, [_values(owner, vector) for vector in batch]))

    def remove(self, owner: str, digests: Iterable[str]) -> None:
        names = iter(digests)
        while batch := list(islice(names, _WRITTEN)):
            self._write(partial(_delete, [(owner, digest) for digest in batch]))

    def remove_all(self, owner: str) -> None:
        self._write(lambda c: c.execute("DELETE FROM vectors WHERE owner = ?", (owner,)))

    def remove_rows(self, ids: Sequence[int]) -> None:
        if ids:
            each = [(number,) for number in ids]
            self._write(lambda c: c.executemany("DELETE FROM vectors WHERE id = ?", each))

    def touch(self, owner: str, digest: str, expires: float) -> None:
        change = "UPDATE vectors SET expires = ? WHERE owner = ? AND digest = ?"
        self._write(lambda connection: connection.execute(change, (expires, owner, digest)))

    def sweep(self, now: float, limit: int) -> int:
        """Remove up to `limit` rows that have expired; how many."""
        expired = "SELECT id FROM vectors WHERE expires <= ? ORDER BY expires LIMIT ?"
        found = self.file.run(lambda c: c.execute(expired, (now, limit)).fetchall())
        self.remove_rows([number for (number,) in found])
        return len(found)

    def owned(self, owner: str, now: float) -> list[Row]:
        """All rows of an alias that have not expired."""
        return self.file.run(lambda c: _sound(c.execute(_OWNED, (owner, now))))

    def after(self, number: int, limit: int) -> tuple[list[int], list[Row]]:
        """The numbers of the rows that follow one, and those rows that are not damaged, expired or
        not.
        """
        found = self.file.run(lambda c: c.execute(_AFTER, (number, limit)).fetchall())
        return [row[0] for row in found], _sound(found)

    def rows(self, made: str, ids: Sequence[int], now: float) -> dict[int, Row] | None:
        """Those of the rows that are there and have not expired; None if they are another file's.

        Args:
            made: the name of the file that the numbers are from.
        """

        def read(connection: sqlite3.Connection) -> list[Row] | None:
            if self.file.made != made:
                return None
            found = []
            for start in range(0, len(ids), _WRITTEN):
                batch = ids[start : start + _WRITTEN]
                listed = _NAMED % ",".join("?" * len(batch))
                found += _sound(connection.execute(listed, (now, *batch)))
            return found

        found = self.file.run(read)
        return None if found is None else {row.id: row for row in found}

    def has_place(self, name: str) -> bool:
        """Whether a place has any row."""
        found = "SELECT 1 FROM vectors WHERE place = ? LIMIT 1"
        return self.file.run(lambda c: c.execute(found, (name,)).fetchone()) is not None

    def news(
        self,
        name: str,
        size: int,
        made: str,
        last_id: int,
        last_change: int | None,
        take: Callable[[Batch], None],
    ) -> News | None:
        """Read what has happened in a place since a row and a change; None if the log no longer
        reaches back so far, or it is another file's.

        Args:
            size: of its vectors, in bytes; rows of other sizes are damaged.
            made: the name of the file that `last_id` and `last_change` are from.
            last_change: None for a place of which nothing has been read yet.
            take: is given the new rows.
        """

        def read(connection: sqlite3.Connection) -> News | None:
            if self.file.made != made:
                return None
            connection.execute("BEGIN")
            last, first = connection.execute(
                "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0),"
                " (SELECT min(number) FROM changes)"
            ).fetchone()
            changed: list[tuple[int, float]] = []
            if last_change is not None:
                if last_change < (last if first is None else first - 1):
                    connection.execute("COMMIT")
                    return None
                changed = connection.execute(
                    "SELECT id, expires FROM changes WHERE place = ? AND number > ?"
                    " ORDER BY number",
                    (name, last_change),
                ).fetchall()
            for batch in _batches(connection.execute(_ADDED, (name, last_id, size))):
                take(batch)
            connection.execute("COMMIT")
            return News(changed, last)

        return self.file.run(read)


def _values(owner: str, vector: Vector) -> tuple[object, ...]:
    name = place(owner, vector.partition, vector.space, len(vector.data))
    expires = NEVER if vector.expires is None else vector.expires
    return owner, vector.digest, name, clean(vector.prompt), vector.data, expires


def _insert(values: Sequence[tuple[object, ...]], connection: sqlite3.Connection) -> None:
    # Not INSERT OR REPLACE, which removes the old row without telling the log. One after the
    # other, as a digest may come twice.
    for value in values:
        _delete([value[:2]], connection)
        connection.execute(_ADD, value)


def _delete(names: Sequence[tuple[object, ...]], connection: sqlite3.Connection) -> None:
    connection.executemany("DELETE FROM vectors WHERE owner = ? AND digest = ?", names)


def _sound(found: Iterable[tuple[Any, ...]]) -> list[Row]:
    """What is not damaged: text that is none is read as bytes."""
    rows = (Row(*row) for row in found)
    return [row for row in rows if all(isinstance(text, str) for text in row[1:])]


def _batches(cursor: sqlite3.Cursor) -> Iterator[Batch]:
    while rows := cursor.fetchmany(_READ):
        ids, expires, data = zip(*rows, strict=True)
        yield Batch(list(ids), list(expires), b"".join(data))
