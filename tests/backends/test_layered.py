"""Reads go down and copy up, writes and deletes go up; a layer that fails spoils nothing."""

from __future__ import annotations

import asyncio
import signal
import time
from hashlib import sha256
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from llmcache.backends import stores
from llmcache.backends.base import BaseBackend, Item
from llmcache.backends.layered import LayeredBackend
from llmcache.backends.memory import MemoryBackend
from llmcache.backends.redis import RedisBackend
from llmcache.conf import BackendSettings
from llmcache.envelope import seal
from tests.backends.conftest import Door
from tests.backends.stores import unique
from tests.servers.ports import free_port
from tests.servers.redis import RedisServer, own_server

A, B, C = (sha256(name).hexdigest() for name in (b"a", b"b", b"c"))


class Shared(MemoryBackend):
    """Memory that stands for a store which other processes share, and counts what it is asked."""

    process_local = False
    asked: int = 0

    def get(self, digest: str) -> bytes | None:
        self.asked += 1
        return super().get(digest)


def memory(kind: type[MemoryBackend] = Shared, alias: str = "m") -> Any:
    return kind(BackendSettings(alias=alias))


def refusing(alias: str = "down") -> BaseBackend:
    url = f"redis://127.0.0.1:{free_port()}"
    return RedisBackend(BackendSettings(alias=alias, location=url))


def envelope(digest: str, seconds: float | None = 60, payload: bytes = b"{}") -> bytes:
    now = time.time()
    end = {} if seconds is None else {"expires": now + seconds}
    return seal(digest, payload, created=now, sign=False, **end)


def test_a_read_tells_its_layer_and_leaves_copies_above(door: Any) -> None:
    top, middle, lowest = memory(alias="top"), memory(alias="middle"), memory(alias="lowest")
    store = door(LayeredBackend.over([top, middle, lowest]))
    data = envelope(A)
    lowest.set(A, data, 60)
    assert store.get_with_layer(A) == (data, "lowest")
    assert top.get(A) == middle.get(A) == data
    assert store.get_with_layer(A) == (data, "top")
    assert store.get_with_layer(B) is None


def test_a_copy_lives_no_longer_than_the_entry_has_left(door: Any) -> None:
    top, lowest = memory(), memory()
    store = door(LayeredBackend.over([top, lowest]))
    lowest.set(A, envelope(A, 0.3), None)
    lowest.set(B, envelope(B, None), None)
    lowest.set(C, envelope(C, -1), None)
    assert set(store.get_many([A, B, C])) == {A, B, C}
    assert top.get(A) is not None
    assert top.get(C) is None
    time.sleep(0.35)
    assert top.get(A) is None
    assert top.get(B) is not None


def test_bytes_whose_end_nobody_can_tell_are_not_copied_up(door: Any) -> None:
    top, lowest = memory(), memory()
    store = door(LayeredBackend.over([top, lowest]))
    lowest.set(A, b"no envelope", 60)
    assert store.get(A) == b"no envelope"
    assert top.get(A) is None


def test_get_many_asks_lower_layers_only_for_what_is_missing(door: Any) -> None:
    top, lowest = memory(), memory()
    store = door(LayeredBackend.over([top, lowest]))
    top.set(A, envelope(A), 60)
    lowest.set(B, envelope(B), 60)
    found = store.get_many([A, B])
    assert set(found) == {A, B}
    assert lowest.asked == 1
    store.get_many([A, B])
    assert lowest.asked == 1


def test_memory_above_a_shared_layer_forgets_soon(door: Any) -> None:
    local, shared = memory(MemoryBackend), memory()
    store = door(LayeredBackend.over([local, shared], local_ttl=0.2))
    store.set(A, envelope(A), 60)
    store.set_many([Item(B, envelope(B), None)])
    shared.set(C, envelope(C), 60)
    assert store.get(C) is not None
    store.touch(A, 60)
    assert len(local.get_many([A, B, C])) == 3
    shared.delete_many([A, B, C])  # as another process would
    time.sleep(0.25)
    assert store.get_many([A, B, C]) == {}


def test_memory_alone_keeps_what_it_was_given() -> None:
    upper, lower = memory(MemoryBackend), memory(MemoryBackend)
    store = LayeredBackend.over([upper, lower], local_ttl=0.05)
    assert store.process_local
    store.set(A, b"1", 60)
    time.sleep(0.1)
    assert upper.get(A) == b"1"


def test_a_write_reaches_the_lowest_layer_first_and_so_does_a_delete() -> None:
    order: list[str] = []

    class Noting(Shared):
        def set_many(self, items: Any) -> None:
            order.append(f"set {self.alias}")
            super().set_many(items)

        def delete_many(self, digests: Any) -> int:
            order.append(f"delete {self.alias}")
            return super().delete_many(digests)

    store = LayeredBackend.over([memory(Noting, "top"), memory(Noting, "lowest")])
    store.set(A, b"1", 60)
    assert store.delete(A) is True
    assert order == ["set lowest", "set top", "delete lowest", "delete top"]


@pytest.mark.parametrize("change", ["delete", "replace", "clear"])
@pytest.mark.parametrize("moment", ["after the read", "during the copy"])
def test_what_changes_during_a_read_is_not_copied_back_up(change: str, moment: str) -> None:
    old, new = envelope(A, payload=b"old"), envelope(A, payload=b"new")

    def change_now() -> None:
        if change == "delete":
            store.delete(A)
        elif change == "replace":
            store.set(A, new, 60)
        else:
            store.clear()

    class Lowest(Shared):
        def get(self, digest: str) -> bytes | None:
            data = super().get(digest)
            if moment == "after the read":
                change_now()
            return data

    class Top(Shared):
        busy = False

        def set_many(self, items: Any) -> None:
            if moment == "during the copy" and not self.busy:
                self.busy = True
                change_now()
            super().set_many(items)

    top, lowest = memory(Top), memory(Lowest)
    lowest.set(A, old, 60)
    store = LayeredBackend.over([top, lowest])
    assert store.get(A) == old  # the read began before the change
    assert top.get(A) != old


def test_a_layer_that_is_down_breaks_neither_reads_nor_writes(door: Any) -> None:
    for layers in ([refusing(), memory()], [memory(), refusing()]):
        up = next(layer for layer in layers if isinstance(layer, Shared))
        store = door(LayeredBackend.over(layers))
        store.set(A, envelope(A), 60)
        assert up.get(A) is not None
        assert store.get(A) is not None
        assert store.get(B) is None
        assert set(store.get_many([A, B])) == {A}
        assert store.touch(A, 30) is True


def test_a_delete_that_failed_anywhere_is_an_error_after_trying_everywhere(door: Any) -> None:
    up = memory()
    store = door(LayeredBackend.over([up, refusing()]))
    for act in (lambda: store.delete(A), lambda: store.delete_many([A]), lambda: store.clear()):
        up.set(A, b"1", 60)
        with pytest.raises(Exception, match="onnect"):
            act()
        assert up.get(A) is None


def test_when_every_layer_is_down_that_is_an_error(door: Any) -> None:
    store = door(LayeredBackend.over([refusing(), refusing()]))
    for act in (
        lambda: store.get(A),
        lambda: store.get_many([A]),
        lambda: store.set(A, b"1", 60),
        lambda: store.touch(A, 60),
    ):
        with pytest.raises(Exception, match="onnect"):
            act()


def test_a_hanging_layer_is_soon_left_alone() -> None:
    with own_server() as server:
        hanging = RedisBackend(BackendSettings(alias="hanging", location=server.url))
        store = LayeredBackend.over([hanging, memory()])
        store.set(A, envelope(A), 60)
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(5):
                assert store.get(A) is not None
            started = time.monotonic()
            for _ in range(100):
                assert store.get(A) is not None
            assert time.monotonic() - started < 1
        finally:
            server.process.send_signal(signal.SIGCONT)
        store.close()


def test_a_delete_reaches_another_process_through_the_shared_layer(
    redis_server: RedisServer,
) -> None:
    settings = BackendSettings(alias="r", location=redis_server.url, key_prefix=unique())
    here, there = (
        LayeredBackend.over([memory(MemoryBackend), RedisBackend(settings)], local_ttl=0.2)
        for _ in range(2)
    )
    here.set(A, envelope(A), 60)
    assert there.get(A) is not None
    assert here.delete(A) is True
    time.sleep(0.25)
    assert there.get(A) is None


def aliases(**layers: Any) -> Any:
    layered = "llmcache.backends.layered.LayeredBackend"
    plain = "llmcache.backends.memory.MemoryBackend"
    return override_settings(
        LLMCACHE={
            "plain": {"BACKEND": plain},
            **{
                alias: {"BACKEND": layered, "OPTIONS": options} for alias, options in layers.items()
            },
        }
    )


def test_layers_are_named_by_their_aliases() -> None:
    with aliases(two={"layers": ["plain", "default"]}, three={"layers": ["plain", "two"]}):
        two, three = stores["two"], stores["three"]
        assert isinstance(two, LayeredBackend)
        assert isinstance(three, LayeredBackend)
        assert two.layers == (stores["plain"], stores["default"])
        assert three.layers == (stores["plain"], two)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ({"a": {"layers": ["a"]}}, "circle: a -> a"),
        ({"a": {"layers": ["b"]}, "b": {"layers": ["plain", "a"]}}, "circle: a -> b -> a"),
        ({"a": {"layers": ["plan"]}}, "Did you mean 'plain'"),
        ({"a": {"layers": ["plain", "plain"]}}, "twice"),
        ({"a": {"layers": []}}, "list of aliases"),
        ({"a": {"layers": "plain"}}, "list of aliases"),
        ({"a": {}}, "list of aliases"),
        ({"a": {"layers": ["plain"], "ttl": 5}}, "local_ttl"),
        ({"a": {"layers": ["plain"], "local_ttl": 0}}, "above 0"),
        ({"a": {"layers": ["plain"], "local_ttl": "5"}}, "above 0"),
    ],
    ids=str,
)
def test_wrong_layers_are_errors_that_name_the_fix(layers: dict[str, Any], words: str) -> None:
    with aliases(**layers), pytest.raises(ImproperlyConfigured, match=words):
        stores["a"]


def test_a_key_prefix_on_the_layered_alias_is_warned_of() -> None:
    layered = "llmcache.backends.layered.LayeredBackend"
    entry = {"BACKEND": layered, "KEY_PREFIX": "x", "OPTIONS": {"layers": ["default"]}}
    with override_settings(LLMCACHE={"a": entry}):
        assert [message.id for message in stores["a"].check()] == ["llmcache.W105"]


def test_a_read_in_a_task_that_is_cancelled_spoils_nothing() -> None:
    top, lowest = memory(), memory()
    store = LayeredBackend.over([top, lowest])

    async def use() -> None:
        task = asyncio.create_task(store.aget(A))
        await asyncio.sleep(0)
        task.cancel()
        await store.aset(A, envelope(A), 60)
        assert await store.aget(A) is not None

    asyncio.run(use())
    assert Door(store, None).get(A) is not None
