"""Django's DatabaseCache, read without unpickling. Its column knows whole seconds only, so each of
our values begins with its end, as unix seconds in a float64."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from struct import Struct
from time import time
from typing import Any, ClassVar, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.core.cache import caches
from django.db import connections, router, transaction

from llmcache.backends import plain_pickle
from llmcache.backends.base import BaseBackend, Item
from llmcache.backends.django import DjangoCacheBackend
from llmcache.conf import BackendSettings

T = TypeVar("T")
_END = Struct("<d")
_BATCH = 500


class DatabaseBackend(DjangoCacheBackend):
    """A store in a table that `createcachetable` makes; a database router may say where.

    Async methods run where Django runs a request's other queries, on its connection.
    """

    exact_ttl: ClassVar[bool] = True
    supports_iterate: ClassVar[bool] = True
    supports_clear: ClassVar[bool] = True

    def __init__(self, settings: BackendSettings) -> None:
        super().__init__(settings)
        self._table: Any = caches.create_connection(self.cache_alias)

    def _rows(self, sql: str, values: Iterable[Any], *, write: bool = False) -> list[Any]:
        """Run one statement on the table, `{table}` and `{now}` filled in; its rows, or its count."""
        model = self._table.cache_model_class
        using = router.db_for_write(model) if write else router.db_for_read(model)
        connection = connections[using]
        # A failing statement must not spoil the transaction of the view that we are called from.
        guard = transaction.atomic(using=using) if connection.in_atomic_block else nullcontext()
        with guard, connection.cursor() as cursor:
            table = connection.ops.quote_name(self._table._table)
            cursor.execute(sql.format(table=table), list(values))
            return [cursor.rowcount] if write else list(cursor.fetchall())

    def _now(self) -> Any:
        model = self._table.cache_model_class
        connection = connections[router.db_for_read(model)]
        now = datetime.now(UTC if django_settings.USE_TZ else None).replace(microsecond=0)
        return connection.ops.adapt_datetimefield_value(now)

    def _mine(self) -> str:
        """A LIKE pattern for this alias's keys."""
        head = self.keyspace().head
        return "".join(f"!{sign}" if sign in "!%_" else sign for sign in head) + "%"

    def get(self, digest: str) -> bytes | None:
        return self.get_many([digest]).get(digest)

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        names = {self.make_key(digest): digest for digest in digests}
        found = {}
        for keys in _batches(list(names)):
            marks = ", ".join(["%s"] * len(keys))
            sql = f"SELECT cache_key, value FROM {{table}} WHERE cache_key IN ({marks})"  # noqa: S608
            for key, value in self._rows(sql, keys):
                data = _live(value)
                if data is not None:
                    found[names[key]] = data
        return found

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        end = math.inf if ttl is None else time() + ttl
        # The column is cut to whole seconds: a second more, so that it never ends before we do.
        kept = None if ttl is None else math.ceil(ttl) + 1
        self._table.set(self.prefix + digest, _END.pack(end) + data, kept)

    def set_many(self, items: Iterable[Item]) -> None:
        BaseBackend.set_many(self, items)

    def delete(self, digest: str) -> bool:
        live = self.get(digest) is not None
        self._table.delete(self.prefix + digest)
        return live

    def touch(self, digest: str, ttl: float | None) -> bool:
        data = self.get(digest)
        if data is None:
            return False
        self.set(digest, data, ttl)
        return True

    def clear(self) -> int:
        number = len(list(self.iterate()))
        sql = "DELETE FROM {table} WHERE cache_key LIKE %s ESCAPE '!'"
        self._rows(sql, [self._mine()], write=True)
        return number

    def iterate(self) -> Iterator[str]:
        space = self.keyspace()
        sql = "SELECT cache_key, value FROM {table} WHERE cache_key LIKE %s ESCAPE '!'"
        for key, value in self._rows(sql, [self._mine()]):
            digest = space.digest(key)
            if digest is not None and _live(value) is not None:
                yield digest

    def sweep(self, limit: int = 1000) -> int:
        now = self._now()
        sql = (
            "SELECT cache_key FROM {table} WHERE cache_key LIKE %s ESCAPE '!' AND expires < %s "
            f"LIMIT {int(limit)}"
        )
        removed = 0
        for keys in _batches([row[0] for row in self._rows(sql, [self._mine(), now])]):
            marks = ", ".join(["%s"] * len(keys))
            sql = f"DELETE FROM {{table}} WHERE cache_key IN ({marks}) AND expires < %s"  # noqa: S608
            removed += self._rows(sql, [*keys, now], write=True)[0]
        return removed

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


def _batches(keys: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(keys), _BATCH):
        yield keys[start : start + _BATCH]


def _live(value: str) -> bytes | None:
    """The data in a row's value, or None once its end has passed.

    Raises:
        Refused: the row holds something that nobody should unpickle.
    """
    try:
        pickled = base64.b64decode(value.encode())
    except ValueError as error:
        raise plain_pickle.Refused(f"a row is damaged: {error}") from error
    data = plain_pickle.read_bytes(pickled)
    if len(data) < _END.size:
        raise plain_pickle.Refused("a row is damaged: too short")
    return data[_END.size :] if time() < _END.unpack_from(data)[0] else None
