"""Whoever can write to a shared store can make a read fail, but can run nothing through us."""

from __future__ import annotations

import asyncio
import base64
import pickle
import zlib
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.db import connection

from llmcache.backends import plain_pickle
from llmcache.backends.base import BaseBackend
from llmcache.backends.django_file import FileBackend
from llmcache.backends.plain_pickle import Refused
from tests.backends import stores
from tests.backends.conftest import DATABASE

A, B = (sha256(name).hexdigest() for name in (b"a", b"b"))


class Bomb:
    """Unpickled, it makes a file; so would any other command."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


class Planted(NamedTuple):
    """A store and a way to put raw bytes where its entry should be."""

    store: BaseBackend
    plant: Callable[[bytes], None]


def files(request: pytest.FixtureRequest) -> Planted:
    store = stores.files(request)()
    assert isinstance(store, FileBackend)

    def plant(value: bytes) -> None:
        head = pickle.dumps(None)
        store._path(A).write_bytes(head + zlib.compress(value))

    return Planted(store, plant)


def file_heads(request: pytest.FixtureRequest) -> Planted:
    store = stores.files(request)()
    assert isinstance(store, FileBackend)
    return Planted(store, lambda value: store._path(A).write_bytes(value) and None)


def database(request: pytest.FixtureRequest) -> Planted:
    store: Any = stores.database(request)()

    def plant(value: bytes) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {store._table._table} SET value = %s WHERE cache_key = %s",
                [base64.b64encode(value).decode(), store.make_key(A)],
            )
            assert cursor.rowcount == 1

    return Planted(store, plant)


def in_redis(factory: stores.Factory) -> Callable[[pytest.FixtureRequest], Planted]:
    def build(request: pytest.FixtureRequest) -> Planted:
        store: Any = factory(request)()
        primary = store.connections.primary
        return Planted(store, lambda value: primary.set(store.make_key(A), value) and None)

    return build


PLACES = {
    "files": files,
    "file-heads": file_heads,
    "database": database,
    "redis": in_redis(stores.redis),
    "django-redis": in_redis(stores.django_redis),
    "django-redis-package": in_redis(stores.django_redis_package),
}


@pytest.fixture(
    params=[
        pytest.param(name, marks=DATABASE if name == "database" else ()) for name in sorted(PLACES)
    ]
)
def place(request: pytest.FixtureRequest, settings: Any) -> Planted:
    settings.LLMCACHE_CONFIG = {"BACKEND_TIMEOUT": 5.0}
    planted = PLACES[request.param](request)
    planted.store.set(A, b"ours", 60)
    planted.store.set(B, b"ours too", 60)
    return planted


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_bomb_never_goes_off(
    place: Planted, protocol: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    mark = tmp_path / "went-off"
    bomb = pickle.dumps(Bomb(mark), protocol)
    pickle.loads(bomb)
    assert mark.exists()  # a reader that unpickles would do this
    mark.unlink()
    place.plant(bomb)
    store = place.store
    for read in (
        lambda: store.get(A),
        lambda: store.get_many([A]).get(A),
        lambda: asyncio.run(store.aget(A)),
        lambda: asyncio.run(store.aget_many([A])).get(A),
    ):
        with suppress(Refused):
            assert read() == bomb  # Redis hands over what it has; an envelope it is not
    assert B in list(store.iterate())
    store.sweep()
    store.set(A, b"ours again", 60)
    assert store.get(A) == b"ours again"
    place.plant(bomb)
    assert store.clear() >= 1
    assert store.get(B) is None
    assert not mark.exists()


@pytest.mark.parametrize("value", [{"a": 1}, [b"x"], "text", 7, None, ("a", b"b"), bytearray(b"x")])
def test_a_plain_value_of_another_program_is_refused(place: Planted, value: Any) -> None:
    raw = pickle.dumps(value)
    place.plant(raw)
    try:
        found = place.store.get(A)
    except Refused:
        return
    assert found == raw or found is None


@pytest.mark.parametrize(
    "damaged", [b"", b"\0" * 50, b"\x80\x05", b"(" * 100_000, b"r\xff\xff\xff\xff."], ids=repr
)
def test_damage_is_refused_and_the_listing_goes_on(place: Planted, damaged: bytes) -> None:
    place.plant(damaged)
    with suppress(Refused):
        assert place.store.get(A) in (damaged, None)
    assert B in list(place.store.iterate())


def test_damage_outside_the_pickle_is_refused(request: pytest.FixtureRequest) -> None:
    store = files(request).store
    assert isinstance(store, FileBackend)
    store.set(A, b"ours", 60)
    store.set(B, b"ours too", 60)
    whole = store._path(A).read_bytes()
    for cut in (0, 3, 12, len(whole) // 2, len(whole) - 1):
        store._path(A).write_bytes(whole[:cut])
        with pytest.raises(Refused):
            store.get(A)
    store._path(A).write_bytes(whole[: whole.index(b".") + 1] + b"not compressed")
    with pytest.raises(Refused, match="damaged"):
        store.get(A)
    store._path(A).write_bytes(store._path(B).read_bytes())
    with pytest.raises(Refused, match="another key"):
        store.get(A)
    assert list(store.iterate()).count(B) >= 1


@DATABASE
def test_a_row_that_is_no_base64_is_refused(request: pytest.FixtureRequest) -> None:
    store: Any = database(request).store
    for digest in (A, B):
        store.set(digest, b"ours", 60)
    with connection.cursor() as cursor:
        change = f"UPDATE {store._table._table} SET value = 'abcde' WHERE cache_key = %s"
        cursor.execute(change, [store.make_key(A)])
    with pytest.raises(Refused, match="a row is damaged"):
        store.get(A)
    assert sorted(store.iterate()) == sorted([A, B])
    assert store.get(B) == b"ours"
    store.set(A, b"ours again", 60)
    assert store.get(A) == b"ours again"


def test_names_and_persistent_objects_are_refused() -> None:
    for raw in (
        b"cos\nsystem\n.",
        b"\x8c\x08builtins\x8c\x04eval\x93.",
        b"Pid\n.",
        b"N\x8c\x01xR.",
        b"\x82\x01.",
    ):
        with pytest.raises(Refused):
            plain_pickle.read_bytes(raw)
    assert plain_pickle.read_bytes(pickle.dumps(b"bytes", 2 + 1)) == b"bytes"
