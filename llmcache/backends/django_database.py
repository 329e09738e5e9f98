"""Django's DatabaseCache: its table and its form of values, but read without unpickling, with ends
to the microsecond, and written by one statement: Django's four can fail without a word.
"""

from __future__ import annotations

import base64
import itertools
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.checks import CheckMessage
from django.db import connections, router, transaction
from django.db.models.constants import OnConflict

from llmcache.backends import checks, plain_pickle
from llmcache.backends.base import Item
from llmcache.backends.django import DjangoCacheBackend
from llmcache.conf import BackendSettings

T = TypeVar("T")
_BATCH: Final = 100
_PAGE: Final = 500
_COLUMNS: Final = ("cache_key", "value", "expires")
_NO_END: Final = datetime(9999, 12, 30)  # noqa: DTZ001 - as Django's own cache writes it
_CULL_EVERY: Final = 50


class DatabaseBackend(DjangoCacheBackend):
    """A store in a table that `createcachetable` makes; a database router may say where.

    Async methods run where Django runs a request's other queries, on its connection. About every
    fiftieth write culls the table to CACHES' MAX_ENTRIES, by Django's rules.
    """

    exact_ttl: bool = True
    supports_iterate: bool = True
    supports_clear: bool = True
    supports_claims: bool = False  # a claim within a view's transaction would be seen too late

    def __init__(self, settings: BackendSettings) -> None:
        super().__init__(settings)
        if self._head != self._head.lower() or not self._head.isascii():
            # MySQL and MariaDB take "Tenant", "tenant" and "ténant" for one key.
            self._head += f"{sha256(self._head.encode()).hexdigest()[:8]}:"
        self._table: Any = caches.create_connection(self.cache_alias)
        self._writes = itertools.count(1)

    # --- statements ---

    def _using(self, *, write: bool) -> str:
        model = self._table.cache_model_class
        return router.db_for_write(model) if write else router.db_for_read(model)

    def _guard(self, using: str) -> AbstractContextManager[Any]:
        """A failing statement must not spoil the transaction of the view that we are called from,
        nor a connection that broke long ago fail for ever in a thread that no request ends."""
        connection = connections[using]
        if connection.in_atomic_block:
            return transaction.atomic(using=using)
        if connection.errors_occurred:
            connection.close_if_unusable_or_obsolete()
        return nullcontext()

    def _rows(self, sql: str, values: Sequence[Any]) -> list[Any]:
        using = self._using(write=False)
        with self._guard(using), connections[using].cursor() as cursor:
            cursor.execute(self._named(using, sql), self._adapted(using, values))
            return list(cursor.fetchall())

    def _change(self, sql: str, values: Sequence[Any]) -> int:
        """Run a statement that writes; how many rows it changed."""
        using = self._using(write=True)
        with self._guard(using), connections[using].cursor() as cursor:
            cursor.execute(self._named(using, sql), self._adapted(using, values))
            return int(cursor.rowcount)

    def _named(self, using: str, sql: str) -> str:
        ops = connections[using].ops
        names = {name: ops.quote_name(name) for name in _COLUMNS}
        return sql.format(table=ops.quote_name(self._table._table), **names)

    def _adapted(self, using: str, values: Sequence[Any]) -> list[Any]:
        adapt = connections[using].ops.adapt_datetimefield_value
        return [adapt(value) if isinstance(value, datetime) else value for value in values]

    # --- sync ---

    def get(self, digest: str) -> bytes | None:
        return self.get_many([digest]).get(digest)

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        names = {self.make_key(digest): digest for digest in digests}
        found = {}
        for keys in _batches(list(names)):
            sql = "SELECT {cache_key}, {value} FROM {table} WHERE {cache_key} IN "
            sql += _marks(keys) + " AND {expires} > %s"
            for key, value in self._rows(sql, [*keys, _now()]):
                if key in names:  # some databases compare without regard to case
                    found[names[key]] = _data(value)
        return found

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        self.set_many([Item(digest, data, ttl)])

    def set_many(self, items: Iterable[Item]) -> None:
        rows = {
            self.make_key(digest): (self.make_key(digest), _value(data), _end(ttl))
            for digest, data, ttl in items
        }
        for batch in _batches(list(rows.values())):
            self._upsert(batch)
        if rows and next(self._writes) % _CULL_EVERY == 0:
            self._cull()

    def _upsert(self, rows: Sequence[tuple[str, str, datetime]]) -> None:
        connection = connections[self._using(write=True)]
        if not connection.features.supports_update_conflicts:
            self._upsert_slowly(rows)
            return
        target = ("cache_key",) if connection.features.supports_update_conflicts_with_target else ()
        suffix = connection.ops.on_conflict_suffix_sql(
            _COLUMNS, OnConflict.UPDATE, ("value", "expires"), target
        )
        marks = ", ".join([_marks(_COLUMNS)] * len(rows))
        sql = "INSERT INTO {table} ({cache_key}, {value}, {expires}) VALUES "
        self._change(f"{sql}{marks} {suffix}", [value for row in rows for value in row])

    def _upsert_slowly(self, rows: Sequence[tuple[str, str, datetime]]) -> None:
        for key, value, end in rows:
            update = "UPDATE {table} SET {value} = %s, {expires} = %s WHERE {cache_key} = %s"
            if not self._change(update, [value, end, key]):
                insert = "INSERT INTO {table} ({cache_key}, {value}, {expires}) VALUES (%s, %s, %s)"
                self._change(insert, [key, value, end])

    def _cull(self) -> None:
        using = self._using(write=True)
        with self._guard(using), connections[using].cursor() as cursor:
            cursor.execute(self._named(using, "SELECT COUNT(*) FROM {table}"))
            number = cursor.fetchone()[0]
            if number > self._table._max_entries:
                self._table._cull(using, cursor, _now(), number)

    def delete(self, digest: str) -> bool:
        return bool(self.delete_many([digest]))

    def delete_many(self, digests: Iterable[str]) -> int:
        return self._delete([self.make_key(digest) for digest in digests])

    def _delete(self, keys: list[str]) -> int:
        removed = 0
        for batch in _batches(keys):
            sql = "DELETE FROM {table} WHERE {cache_key} IN "
            removed += self._change(sql + _marks(batch), batch)
        return removed

    def touch(self, digest: str, ttl: float | None) -> bool:
        sql = "UPDATE {table} SET {expires} = %s WHERE {cache_key} = %s AND {expires} > %s"
        return bool(self._change(sql, [_end(ttl), self.make_key(digest), _now()]))

    def clear(self) -> int:
        self.sweep(sys.maxsize)
        return self._delete(list(self._own_keys(">")))

    def iterate(self) -> Iterator[str]:
        space = self.keyspace()
        yield from filter(None, map(space.digest, self._own_keys(">")))

    def _own_keys(self, than_now: str) -> Iterator[str]:
        """The keys of this alias's rows that end after (`>`) or before (`<=`) now."""
        space, last = self.keyspace(), ""
        pattern = "".join(f"!{sign}" if sign in "!%_" else sign for sign in space.head) + "%"
        page = connections[self._using(write=False)].ops.limit_offset_sql(0, _PAGE)
        sql = (
            "SELECT {cache_key} FROM {table} WHERE {cache_key} LIKE %s ESCAPE '!' "
            "AND {expires} {than_now} %s AND {cache_key} > %s ORDER BY {cache_key} {page}"
        )
        sql = sql.replace("{than_now}", than_now).replace("{page}", page)
        while rows := self._rows(sql, [pattern, _now(), last]):
            last = rows[-1][0]
            # LIKE lets other cases through, and aliases whose prefix begins with ours.
            yield from (key for (key,) in rows if space.digest(key) is not None)

    def sweep(self, limit: int = 1000) -> int:
        if not self.supports_iterate:
            return 0
        removed = 0
        for batch in _batches(list(itertools.islice(self._own_keys("<="), limit))):
            sql = "DELETE FROM {table} WHERE {expires} <= %s AND {cache_key} IN "
            removed += self._change(sql + _marks(batch), [_now(), *batch])
        return removed

    def check(self) -> list[CheckMessage]:
        return [*super().check(), *checks.few_entries(self, self.cache_alias, self.description)]

    # --- async ---

    async def _on_djangos_thread(self, function: Callable[..., T], *args: Any) -> T:
        return await sync_to_async(function, thread_sensitive=True)(*args)

    async def aget(self, digest: str) -> bytes | None:
        return await self._on_djangos_thread(self.get, digest)

    async def aget_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        return await self._on_djangos_thread(self.get_many, list(digests))

    async def aset(self, digest: str, data: bytes, ttl: float | None) -> None:
        await self._on_djangos_thread(self.set, digest, data, ttl)

    async def aset_many(self, items: Iterable[Item]) -> None:
        await self._on_djangos_thread(self.set_many, list(items))

    async def adelete(self, digest: str) -> bool:
        return await self._on_djangos_thread(self.delete, digest)

    async def adelete_many(self, digests: Iterable[str]) -> int:
        return await self._on_djangos_thread(self.delete_many, list(digests))

    async def atouch(self, digest: str, ttl: float | None) -> bool:
        return await self._on_djangos_thread(self.touch, digest, ttl)

    async def aclear(self) -> int:
        return await self._on_djangos_thread(self.clear)


def _batches(rows: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]


def _marks(values: Sequence[Any]) -> str:
    return f"({', '.join(['%s'] * len(values))})"


def _now() -> datetime:
    return datetime.now(UTC) if django_settings.USE_TZ else datetime.now()  # noqa: DTZ005


def _end(ttl: float | None) -> datetime:
    if ttl is None:
        return _NO_END.replace(tzinfo=UTC) if django_settings.USE_TZ else _NO_END
    return _now() + timedelta(seconds=ttl)


def _value(data: bytes) -> str:
    return base64.b64encode(pickle.dumps(data, pickle.HIGHEST_PROTOCOL)).decode("ascii")


def _data(value: str) -> bytes:
    """The bytes in a row's value.

    Raises:
        Refused: the row holds something that nobody should unpickle.
    """
    try:
        pickled = base64.b64decode(value.encode())
    except ValueError as error:
        raise plain_pickle.Refused(f"a row is damaged: {error}") from error
    return plain_pickle.read_bytes(pickled)
