"""Stores in Django's caches: which class serves which alias, and what each must leave alone."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, transaction
from django.test import override_settings

from llmcache.backends.base import Item
from llmcache.backends.django import DjangoCacheBackend
from llmcache.backends.django_database import DatabaseBackend
from llmcache.backends.django_file import FileBackend
from llmcache.backends.django_locmem import LocMemBackend
from llmcache.backends.django_redis import DjangoRedisBackend, DjangoRedisPackageBackend
from llmcache.conf import BackendSettings
from llmcache.exceptions import LLMCacheError, UnsupportedOperation
from tests.backends import stores
from tests.backends.conftest import DATABASE
from tests.backends.routed import ALIAS

A, B = (sha256(name).hexdigest() for name in (b"a", b"b"))
DJANGO = "django.core.cache.backends"


def in_caches(**entry: Any) -> Any:
    return override_settings(CACHES={"default": entry})


def store(**settings: Any) -> DjangoCacheBackend:
    return DjangoCacheBackend(BackendSettings(alias="a", **settings))


def digest(name: object) -> str:
    return sha256(str(name).encode()).hexdigest()


def ids(backend: DjangoCacheBackend) -> list[str | None]:
    return [message.id for message in backend.check()]


@pytest.mark.parametrize(
    ("backend", "location", "kind"),
    [
        (f"{DJANGO}.locmem.LocMemCache", "x", LocMemBackend),
        (f"{DJANGO}.db.DatabaseCache", "x", DatabaseBackend),
        (f"{DJANGO}.redis.RedisCache", "redis://127.0.0.1:1", DjangoRedisBackend),
        ("django_redis.cache.RedisCache", "redis://127.0.0.1:1", DjangoRedisPackageBackend),
        (f"{DJANGO}.dummy.DummyCache", "", DjangoCacheBackend),
        ("tests.backends.stores.SiteCache", "x", DjangoCacheBackend),
    ],
)
def test_each_kind_of_cache_has_its_own_class(backend: str, location: str, kind: type) -> None:
    with in_caches(BACKEND=backend, LOCATION=location):
        assert type(store()) is kind


def test_files_have_theirs(tmp_path: Path) -> None:
    with in_caches(BACKEND=f"{DJANGO}.filebased.FileBasedCache", LOCATION=str(tmp_path)):
        assert type(store()) is FileBackend


def test_an_alias_that_caches_does_not_have_is_an_error_that_lists_those_it_has() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'defualt'.*Did you mean 'default'"):
        store(location="defualt")


def test_options_belong_into_caches() -> None:
    with pytest.raises(ImproperlyConfigured, match="OPTIONS"):
        store(options={"MAX_ENTRIES": 5})


def test_a_dummy_cache_stores_nothing_and_is_warned_of() -> None:
    with in_caches(BACKEND=f"{DJANGO}.dummy.DummyCache"):
        nothing = store()
        nothing.set(A, b"1", 60)
        nothing.set_many([Item(B, b"2", None)])
        assert nothing.get(A) is None
        assert nothing.get_many([A, B]) == {}
        assert nothing.delete(A) is False
        assert nothing.touch(A, 60) is False
        assert ids(nothing) == ["llmcache.W104"]


def test_an_unknown_cache_is_used_by_djangos_public_api_and_warned_of() -> None:
    with in_caches(BACKEND="tests.backends.stores.SiteCache", LOCATION="test_django"):
        unknown = store()
        unknown.set(A, b"1", 60)
        assert caches["default"].get(unknown.prefix + A) == b"1"
        assert ids(unknown) == ["llmcache.W103"]
        with pytest.raises(UnsupportedOperation, match="VERSION"):
            unknown.clear()
        caches["default"].set(unknown.prefix + B, {"not": "bytes"})
        with pytest.raises(Exception, match="dict"):
            unknown.get(B)


@pytest.mark.parametrize("kind", ["locmem.LocMemCache", "db.DatabaseCache"])
def test_djangos_default_of_300_entries_is_warned_of(kind: str) -> None:
    with in_caches(BACKEND=f"{DJANGO}.{kind}", LOCATION="x"):
        assert "llmcache.W102" in ids(store())
    for entry in ({"MAX_ENTRIES": 5000}, {"OPTIONS": {"MAX_ENTRIES": 5000}}):
        with in_caches(BACKEND=f"{DJANGO}.{kind}", LOCATION="x", **entry):
            assert "llmcache.W102" not in ids(store())


@pytest.mark.parametrize(
    "factory",
    [
        stores.locmem,
        stores.files,
        pytest.param(stores.database, marks=DATABASE),
        stores.django_redis,
        stores.django_redis_package,
    ],
    ids=lambda factory: factory.__name__,
)
def test_the_sites_own_entries_stay_as_they_are(
    factory: stores.Factory, request: pytest.FixtureRequest
) -> None:
    ours = factory(request)()
    theirs = caches["place"]
    theirs.set("session", {"user": {1, 2}}, 60)
    ours.set(A, b"1", 0.01)
    ours.set(B, b"2", 60)
    time.sleep(0.05)
    assert list(ours.iterate()) == [B]
    ours.sweep()
    assert ours.clear() == 1
    assert theirs.get("session") == {"user": {1, 2}}


# --- files ---


def test_aliases_over_one_directory_list_and_clear_only_their_own(tmp_path: Path) -> None:
    entry = {"BACKEND": f"{DJANGO}.filebased.FileBasedCache", "LOCATION": str(tmp_path)}
    with override_settings(
        CACHES={
            "default": entry,
            "one": {**entry, "KEY_PREFIX": "1"},
            "two": {**entry, "VERSION": 2},
        }
    ):
        all_three = [store(location=alias) for alias in ("default", "one", "two")]
        for number, each in enumerate(all_three):
            each.set(digest(number), str(number).encode(), 60)
        assert [list(each.iterate()) for each in all_three] == [[digest(n)] for n in range(3)]
        assert all_three[0].clear() == 1
        assert [each.get(digest(n)) for n, each in enumerate(all_three)] == [None, b"1", b"2"]


def hiding_key(key: str, key_prefix: str, version: int) -> str:
    return sha256(f"{key_prefix}:{version}:{key}".encode()).hexdigest()


@DATABASE
@pytest.mark.parametrize("factory", [stores.database, stores.locmem])
def test_where_nobody_can_tell_whose_keys_are_whose_nothing_is_swept(
    factory: Any, request: pytest.FixtureRequest
) -> None:
    factory(request)
    entry = {**settings.CACHES["place"], "KEY_FUNCTION": f"{__name__}.hiding_key"}
    with override_settings(CACHES={**settings.CACHES, "place": entry}):
        hidden = store(location="place")
        caches["place"].set("theirs", 1, 0.01)
        hidden.set_many([Item(A, b"1", 0.01), Item(B, b"2", 60)])
        time.sleep(0.05)
        assert hidden.sweep() == 0
        assert hidden.get_many([A, B]) == {B: b"2"}
        with pytest.raises(UnsupportedOperation, match="KEY_FUNCTION"):
            hidden.clear()
        assert hidden.get(B) == b"2"


class Picky(stores.SiteCache):
    """As Memcached, it leaves out what is too large, and says so."""

    def set_many(self, data: Any, timeout: Any = ..., version: Any = None) -> list[Any]:
        left_out = [key for key, value in data.items() if len(value) > 10]
        super().set_many({k: v for k, v in data.items() if k not in left_out}, timeout, version)
        return left_out


def test_entries_that_the_cache_leaves_out_are_an_error(door: Any) -> None:
    with in_caches(BACKEND=f"{__name__}.Picky", LOCATION=stores.unique()):
        picky = door(store())
        items = [Item(A, b"small", 60), Item(B, b"much too large", 60)]
        with pytest.raises(LLMCacheError, match="did not store 1"):
            picky.set_many(items)
        assert picky.get_many([A, B]) == {A: b"small"}


# --- database ---


@DATABASE
def test_a_write_that_the_database_refuses_is_an_error(request: pytest.FixtureRequest) -> None:
    database = stores.database(request)()
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {database._table._table}")  # type: ignore[attr-defined]
    with pytest.raises(DatabaseError):
        database.set(A, b"1", 60)
    with pytest.raises(DatabaseError):
        database.get(A)


@pytest.mark.parametrize(
    "factory", [pytest.param(stores.database, marks=DATABASE), stores.database_postgres]
)
def test_a_failing_statement_leaves_the_views_transaction_usable(
    factory: stores.Factory, request: pytest.FixtureRequest
) -> None:
    database: Any = factory(request)()
    using = ALIAS if factory is stores.database_postgres else "default"
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(f"DROP TABLE {database._table._table}")
        for act in (lambda: database.get(A), lambda: database.set(A, b"1", 60)):
            with suppress(DatabaseError):
                act()
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


@DATABASE
def test_a_database_without_upserts_is_written_row_by_row(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection.features, "supports_update_conflicts", False)  # as Oracle's
    database = stores.database(request)()
    database.set(A, b"1", 60)
    database.set_many([Item(A, b"2", 60), Item(B, b"ended", 0.01), Item(digest(3), b"3", None)])
    time.sleep(0.05)
    assert database.get_many([A, B, digest(3)]) == {A: b"2", digest(3): b"3"}
    database.set(B, b"4", 60)  # in the place of the row that has ended
    assert (database.get(A), database.get(B)) == (b"2", b"4")


@DATABASE
def test_the_table_is_culled_to_max_entries(request: pytest.FixtureRequest) -> None:
    table = f"cache_{stores.unique()[:12]}"
    make = stores.in_caches(
        request,
        BACKEND=f"{DJANGO}.db.DatabaseCache",
        LOCATION=table,
        OPTIONS={"MAX_ENTRIES": 60},
    )
    call_command("createcachetable", table, verbosity=0)
    database = make()
    for number in range(300):
        database.set(digest(number), b"x", 60)
    assert len(list(database.iterate())) <= 60 + 50


@DATABASE
def test_sweep_and_listing_go_on_past_other_aliases_rows(request: pytest.FixtureRequest) -> None:
    make: Any = stores.database(request)
    mine, others = make(key_prefix="a"), make(key_prefix="a:1")
    others.set_many([Item(digest(number), b"x", 0.01) for number in range(1200)])
    others.set_many([Item(digest(-number), b"x", 60) for number in range(1, 700)])
    mine.set_many([Item(A, b"old", 0.01), Item(B, b"live", 60)])
    time.sleep(0.05)
    assert list(mine.iterate()) == [B]
    assert mine.sweep(10) == 1
    assert sum(others.sweep(500) for _ in range(4)) == 1200
    assert len(list(others.iterate())) == 699


@DATABASE
def test_django_reads_what_we_write_to_its_table(request: pytest.FixtureRequest) -> None:
    database = stores.database(request)()
    database.set(A, b"1", 60)
    database.set(B, b"2", None)
    found = caches["place"].get_many([database.prefix + A, database.prefix + B])
    assert sorted(found.values()) == [b"1", b"2"]


def test_a_connection_that_broke_is_replaced(request: pytest.FixtureRequest) -> None:
    database = stores.database_postgres(request)()
    database.set(A, b"1", 60)
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]

    def end_it() -> None:
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [backend])
        connections[ALIAS].close()

    other = threading.Thread(target=end_it)
    other.start()
    other.join()
    with pytest.raises(DatabaseError):
        database.get(A)
    assert database.get(A) == b"1"


@pytest.mark.parametrize("timezones", [True, False])
def test_ends_are_right_with_and_without_time_zones(
    timezones: bool, request: pytest.FixtureRequest
) -> None:
    make = stores.database_postgres(request)
    with override_settings(USE_TZ=timezones, TIME_ZONE="Asia/Kolkata"):
        database = make()
        database.set_many([Item(A, b"brief", 0.2), Item(B, b"for ever", None)])
        assert database.get_many([A, B]) == {A: b"brief", B: b"for ever"}
        time.sleep(0.25)
        assert database.get_many([A, B]) == {B: b"for ever"}


@DATABASE
def test_async_methods_work_within_a_loop_that_is_already_running(
    request: pytest.FixtureRequest,
) -> None:
    database = stores.database(request)()

    async def use() -> Any:
        await asyncio.gather(*(database.aset(digest(n), b"x", 60) for n in range(20)))
        return await database.aget_many([digest(n) for n in range(20)])

    assert len(asyncio.run(use())) == 20
