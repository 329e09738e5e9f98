"""What only a layered store does: which layer answers, copies upwards, layers that fail, races."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

import llmcache
from llmcache.backends import build, stores
from llmcache.backends.base import BaseBackend, Item
from llmcache.backends.disk import DiskBackend
from llmcache.backends.layered import LayeredBackend
from llmcache.backends.memory import MemoryBackend
from llmcache.backends.redis import RedisBackend
from llmcache.conf import BackendSettings
from llmcache.envelope import seal
from llmcache.exceptions import UnsupportedOperation
from tests.servers.redis import own_server

A, B, C = (sha256(name).hexdigest() for name in (b"a", b"b", b"c"))
LAYERED = "llmcache.backends.layered.LayeredBackend"
MEMORY = "llmcache.backends.memory.MemoryBackend"
DISK = "llmcache.backends.disk.DiskBackend"


def sealed(digest: str, payload: bytes = b"answer", ttl: float = 60) -> bytes:
    now = time.time()
    return seal(digest, payload, created=now, expires=now + ttl)


class Spied(MemoryBackend):
    """A store in memory that tells what is done to it, calls hooks on the way, fails if told to,
    and counts as shared by processes.
    """

    process_local = False

    def __init__(self, alias: str, log: list[tuple[str, str]]) -> None:
        super().__init__(BackendSettings(alias=alias))
        self.log = log
        self.failing = False
        self.asked: list[list[str]] = []
        self.hooks: dict[str, Callable[[], None]] = {}

    def _note(self, what: str) -> None:
        self.log.append((self.alias, what))
        if self.failing:
            raise ConnectionError("down")

    def _then(self, what: str) -> None:
        hook = self.hooks.pop(what, None)
        if hook is not None:
            hook()

    def get(self, digest: str) -> bytes | None:
        self._note("get")
        data = super().get(digest)
        self._then("get")
        return data

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        self.asked.append(list(digests))
        self._note("get_many")
        found = {name: data for name in self.asked[-1] if (data := super(Spied, self).get(name))}
        self._then("get")
        return found

    def set_many(self, items: Iterable[Item]) -> None:
        self._note("set")
        super().set_many(items)
        self._then("set")

    def delete_many(self, digests: Iterable[str]) -> int:
        self._note("delete")
        return super().delete_many(digests)

    def touch(self, digest: str, ttl: float | None) -> bool:
        self._note("touch")
        return super().touch(digest, ttl)

    def clear(self) -> int:
        self._note("clear")
        return super().clear()


class Three:
    """Three spied layers under one layered store."""

    def __init__(self, door: Any) -> None:
        self.log: list[tuple[str, str]] = []
        self.layers = tuple(Spied(alias, self.log) for alias in ("top", "middle", "bottom"))
        self.top, self.middle, self.bottom = self.layers
        self.backend = LayeredBackend.over(self.layers)
        self.store = door(self.backend)

    def fail(self, *layers: Spied) -> None:
        for layer in layers:
            layer.failing = True

    def has(self, digest: str) -> list[bool]:
        """Which layers have an entry, from the top."""
        return [MemoryBackend.get(layer, digest) is not None for layer in self.layers]


@pytest.fixture
def three(door: Any) -> Three:
    return Three(door)


def disk(place: Path, alias: str = "disk") -> DiskBackend:
    return DiskBackend(BackendSettings(alias=alias, location=str(place)))


# --- which layer answers, and copies ---


def test_the_highest_layer_that_has_an_entry_answers_and_is_named(three: Three) -> None:
    data = sealed(A)
    three.middle.set(A, data, 60)
    three.bottom.set(A, sealed(A, b"other"), 60)
    assert three.store.get_with_layer(A) == (data, "middle")
    assert three.store.get_with_layer(A) == (data, "top")
    assert three.store.get_with_layer(B) is None


def test_a_read_leaves_copies_in_all_layers_above(three: Three) -> None:
    three.bottom.set(A, sealed(A), 60)
    assert three.store.get(A) is not None
    assert three.has(A) == [True, True, True]


def test_get_many_asks_each_layer_only_for_what_is_still_missing(three: Three) -> None:
    data = {digest: sealed(digest) for digest in (A, B)}
    three.top.set(A, data[A], 60)
    three.bottom.set(B, data[B], 60)
    assert three.store.get_many([A, B, C]) == data
    assert [layer.asked for layer in three.layers] == [[[A, B, C]], [[B, C]], [[B, C]]]
    assert three.has(B) == [True, True, True]
    three.log.clear()
    assert three.store.get_many([A, B]) == data
    assert three.log == [("top", "get_many")]


def test_a_copy_ends_when_the_entry_does(door: Any, tmp_path: Path) -> None:
    upper, lower = disk(tmp_path / "u"), disk(tmp_path / "l")
    store = door(LayeredBackend.over([upper, lower]))
    lower.set(A, sealed(A, ttl=0.4), 60)
    copied = store.get(A) is not None and upper.get(A) is not None
    end = time.monotonic() + 5
    while upper.get(A) is not None:
        assert copied
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_copy_of_an_entry_without_end_has_none(three: Three) -> None:
    three.bottom.set(A, seal(A, b"x", created=time.time()), None)
    assert three.store.get(A) is not None
    assert three.top._entries[A].expires == float("inf")


def test_bytes_whose_end_nobody_can_tell_are_not_copied(three: Three) -> None:
    three.bottom.set(A, b"no envelope", 60)
    assert three.store.get(A) == b"no envelope"
    assert three.has(A) == [False, False, True]


# --- layers in this process's memory ---


def test_a_layer_in_memory_keeps_what_is_written_no_longer_than_local_ttl(
    door: Any, tmp_path: Path
) -> None:
    upper, lower = MemoryBackend(BackendSettings(alias="m")), disk(tmp_path)
    store = door(LayeredBackend.over([upper, lower], local_ttl=0.1))
    store.set(A, b"1", 60)
    store.set_many([Item(B, b"2", None)])
    assert store.touch(A, 60) is True
    time.sleep(0.15)
    assert upper.get_many([A, B]) == {}
    assert store.get_many([A, B]) == {A: b"1", B: b"2"}


def test_what_another_process_deletes_is_served_no_longer_than_local_ttl(
    door: Any, tmp_path: Path
) -> None:
    upper, lower = MemoryBackend(BackendSettings(alias="m")), disk(tmp_path)
    store = door(LayeredBackend.over([upper, lower], local_ttl=0.1))
    lower.set(A, sealed(A), 60)
    assert store.get_with_layer(A)[1] == "disk"
    disk(tmp_path).delete(A)
    time.sleep(0.15)
    assert store.get(A) is None


def test_without_local_ttl_or_without_a_shared_layer_nothing_is_capped(tmp_path: Path) -> None:
    upper, lower = (MemoryBackend(BackendSettings(alias=name)) for name in ("u", "l"))
    for backend in (
        LayeredBackend.over([upper, disk(tmp_path)], local_ttl=None),
        LayeredBackend.over([upper, lower], local_ttl=0.01),
    ):
        backend.set(A, b"1", 60)
        time.sleep(0.02)
        assert upper.get(A) == b"1"
        backend.delete(A)


def test_only_layers_that_are_all_in_memory_make_a_store_in_memory(tmp_path: Path) -> None:
    """Entries of a store that others can write to must be signed."""
    memory = MemoryBackend(BackendSettings(alias="m"))
    assert LayeredBackend.over([memory, memory]).process_local
    assert not LayeredBackend.over([memory, disk(tmp_path)]).process_local


# --- writes and removals ---


def test_writes_and_removals_go_up_from_the_lowest_layer(three: Three) -> None:
    three.store.set(A, b"1", 60)
    three.store.touch(A, 60)
    three.store.delete(A)
    three.store.clear()
    upwards = ("bottom", "middle", "top")
    expected = [(name, what) for what in ("set", "touch", "delete", "clear") for name in upwards]
    assert three.log == expected


def test_delete_and_clear_leave_the_entry_in_no_layer(three: Three) -> None:
    three.store.set_many([Item(A, b"1", 60), Item(B, b"2", None)])
    assert three.has(A) == [True] * 3
    assert three.store.delete_many([A, C]) == 1
    assert three.has(A) == [False] * 3
    assert three.store.clear() == 1
    assert three.has(B) == [False] * 3


def test_iterate_lists_each_entry_once_and_sweep_keeps_one_limit(three: Three) -> None:
    three.store.set(A, b"1", 60)
    three.top.set(B, b"2", 60)
    assert sorted(three.store.iterate()) == sorted([A, B])
    for layer in three.layers:
        layer.set(C, b"3", 0.001)
        layer.set(B, b"3", 0.001)
    time.sleep(0.01)
    assert three.store.sweep(4) == 4
    assert three.store.sweep(4) == 2
    assert list(three.store.iterate()) == [A]


class Unlistable(MemoryBackend):
    supports_clear = False
    supports_iterate = False


def test_a_layer_that_cannot_clear_stops_a_clear_before_anything_is_lost(door: Any) -> None:
    upper = Unlistable(BackendSettings(alias="memcached"))
    lower = MemoryBackend(BackendSettings(alias="l"))
    backend = LayeredBackend.over([upper, lower])
    assert not backend.supports_clear
    backend.set(A, b"1", 60)
    with pytest.raises(UnsupportedOperation, match="its layer 'memcached' cannot"):
        door(backend).clear()
    assert lower.get(A) == b"1"
    assert list(backend.iterate()) == [A]


# --- layers that fail ---


def test_a_read_goes_on_below_a_layer_that_fails(
    three: Three, caplog: pytest.LogCaptureFixture
) -> None:
    data = sealed(A)
    three.bottom.set(A, data, 60)
    three.fail(three.top)
    with caplog.at_level(logging.WARNING, "llmcache"):
        assert three.store.get_with_layer(A) == (data, "bottom")
    assert three.has(A) == [False, True, True]
    assert "Layer 'top' failed to get: ConnectionError: down" in caplog.messages
    assert three.store.get_many([A, B]) == {A: data}


def test_a_read_raises_only_when_every_layer_failed(three: Three) -> None:
    three.fail(three.top, three.bottom)
    assert three.store.get(A) is None
    assert three.store.get_many([A]) == {}
    three.fail(three.middle)
    with pytest.raises(ConnectionError):
        three.store.get(A)
    with pytest.raises(ConnectionError):
        three.store.get_many([A])


def test_a_write_succeeds_if_one_layer_takes_it(three: Three) -> None:
    three.fail(three.top, three.bottom)
    three.store.set(A, b"1", 60)
    assert three.has(A) == [False, True, False]
    assert three.store.touch(A, 90) is True
    three.fail(three.middle)
    with pytest.raises(ConnectionError):
        three.store.set(A, b"1", 60)
    with pytest.raises(ConnectionError):
        three.store.touch(A, 60)


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_removal_that_failed_anywhere_raises_after_trying_all(three: Three, broken: int) -> None:
    expected = [number == broken for number in range(3)]
    for remove in (lambda: three.store.delete(A), three.store.clear):
        three.store.set(A, b"1", 60)
        three.fail(three.layers[broken])
        with pytest.raises(ConnectionError):
            remove()
        assert three.has(A) == expected
        three.layers[broken].failing = False


def test_a_layer_that_keeps_failing_is_left_alone_but_for_removals(three: Three) -> None:
    with override_settings(LLMCACHE_CONFIG={"BREAKER_THRESHOLD": 2, "BREAKER_COOLDOWN": 0.2}):
        three.fail(three.top)
        for _ in range(5):
            three.store.get(A)
        assert three.log.count(("top", "get")) == 2
        with pytest.raises(ConnectionError):
            three.store.delete(A)
        assert ("top", "delete") in three.log
        three.top.failing = False
        three.log.clear()
        end = time.monotonic() + 10
        while ("top", "get") not in three.log:
            three.store.get(A)
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.mark.parametrize("how", ["gone", "hanging"])
def test_a_redis_on_top_that_is_down_costs_little(door: Any, tmp_path: Path, how: str) -> None:
    with own_server() as server:
        assert server.process is not None
        upper = RedisBackend(BackendSettings(alias="redis", location=server.url))
        store = door(LayeredBackend.over([upper, disk(tmp_path)]))
        data = sealed(A)
        store.set(A, data, 60)
        assert store.get_with_layer(A) == (data, "redis")
        if how == "gone":
            server.process.kill()
            server.process.wait()
        else:
            os.kill(server.process.pid, signal.SIGSTOP)
        began = time.monotonic()
        assert [store.get_with_layer(A) for _ in range(50)] == [(data, "disk")] * 50
        assert time.monotonic() - began < 10
        store.close()


# --- races ---


def test_a_delete_during_a_read_leaves_no_copy_of_what_it_removed(three: Three) -> None:
    three.bottom.set(A, sealed(A), 60)
    three.bottom.hooks["get"] = lambda: three.backend.delete_many([A]) and None
    assert three.store.get(A) is not None  # it was there when it was read
    assert three.has(A) == [False] * 3
    three.bottom.set(A, sealed(A), 60)
    three.bottom.hooks["get"] = lambda: three.backend.clear() and None
    assert three.store.get_many([A])
    assert three.has(A) == [False] * 3


def test_a_delete_while_a_copy_is_made_removes_the_copy_too(three: Three) -> None:
    three.bottom.set(A, sealed(A), 60)

    def delete_before_the_copy_lands() -> None:
        copy = MemoryBackend.get(three.top, A)
        three.backend.delete_many([A])
        assert copy is not None
        MemoryBackend.set(three.top, A, copy, 60)

    three.top.hooks["set"] = delete_before_the_copy_lands
    assert three.store.get(A) is not None
    assert three.has(A)[0] is False


def test_a_read_that_began_before_a_write_does_not_put_the_old_answer_back(three: Three) -> None:
    new = sealed(A, b"new")
    three.bottom.set(A, sealed(A, b"old"), 60)
    three.bottom.hooks["get"] = lambda: three.backend.set(A, new, 60)
    three.store.get(A)
    assert MemoryBackend.get(three.top, A) in (new, None)
    assert three.store.get(A) == new


def test_readers_and_deleters_at_once_never_resurrect_an_entry(tmp_path: Path) -> None:
    upper = MemoryBackend(BackendSettings(alias="m"))
    backend = LayeredBackend.over([upper, disk(tmp_path)], local_ttl=None)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            backend.get(A)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(40):
            backend.layers[-1].set(A, sealed(A), 60)
            backend.get(A)
            backend.delete(A)
            time.sleep(0.002)  # lets a reader that read before the delete finish
            end = time.monotonic() + 5
            while backend.get(A) is not None:
                assert time.monotonic() < end
        stop.set()
        for reader in readers:
            reader.join()
        assert backend.get(A) is None
    finally:
        stop.set()


def test_the_async_methods_do_not_block_the_event_loop(tmp_path: Path) -> None:
    class Slow(DiskBackend):
        def get(self, digest: str) -> bytes | None:
            time.sleep(0.2)
            return super().get(digest)

    lower = Slow(BackendSettings(alias="slow", location=str(tmp_path)))
    backend = LayeredBackend.over([MemoryBackend(BackendSettings(alias="m")), lower])

    async def main() -> int:
        ticks, reading = 0, asyncio.ensure_future(backend.aget(A))
        while not reading.done():
            ticks += 1
            await asyncio.sleep(0.005)
        return ticks

    assert asyncio.run(main()) > 3


# --- settings ---


def settings(tmp_path: Path, **options: Any) -> dict[str, Any]:
    return {
        "fast": {"BACKEND": MEMORY},
        "slow": {"BACKEND": DISK, "LOCATION": str(tmp_path)},
        "tiered": {"BACKEND": LAYERED, "OPTIONS": {"layers": ["fast", "slow"], **options}},
    }


def test_the_layers_are_the_stores_of_their_aliases(tmp_path: Path) -> None:
    with override_settings(LLMCACHE=settings(tmp_path)):
        tiered = stores["tiered"]
        assert isinstance(tiered, LayeredBackend)
        assert tiered.layers == (stores["fast"], stores["slow"])
        tiered.set(A, b"1", 60)
        assert stores["slow"].get(A) == b"1"


def test_an_answer_names_the_layer_that_it_came_from(tmp_path: Path) -> None:
    ask: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
    with override_settings(LLMCACHE=settings(tmp_path)):
        first = llmcache.completion(**ask, using="tiered")
        assert llmcache.completion(**ask, using="tiered").cache.layer == "fast"
        stores["fast"].delete(first.cache.key)
        assert llmcache.completion(**ask, using="tiered").cache.layer == "slow"
        assert llmcache.completion(**ask, using="tiered").cache.layer == "fast"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layers": []}, "must be a list of aliases of LLMCACHE"),
        ({"layers": "fast"}, "must be a list of aliases of LLMCACHE"),
        ({"layers": ["fast", "slwo"]}, "Unknown alias of LLMCACHE 'slwo'. Did you mean 'slow'"),
        ({"layers": ["fast", "fast"]}, "names an alias twice"),
        ({"layers": ["fast", "tiered"]}, "in a circle: tiered -> tiered"),
        ({"local_ttl": 0}, "local_ttl.*above 0, or None"),
        ({"local_ttl": "5"}, "local_ttl.*above 0, or None"),
        ({"ttl": 5}, "Unknown key.*Known: layers, local_ttl"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_remedy(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with (
        override_settings(LLMCACHE=settings(tmp_path, **options)),
        pytest.raises(ImproperlyConfigured, match=says),
    ):
        _ = stores["tiered"]


def test_a_circle_over_several_aliases_is_an_error_and_no_endless_recursion() -> None:
    def layered(*layers: str) -> dict[str, Any]:
        return {"BACKEND": LAYERED, "OPTIONS": {"layers": list(layers)}}

    aliases = {"a": layered("b"), "b": layered("m", "c"), "c": layered("a"), "m": {}}
    with (
        override_settings(LLMCACHE=aliases),
        pytest.raises(ImproperlyConfigured, match="a -> b -> c -> a"),
    ):
        _ = stores["a"]


def test_a_layered_store_may_be_a_layer(tmp_path: Path) -> None:
    both = settings(tmp_path)
    both["outer"] = {"BACKEND": LAYERED, "OPTIONS": {"layers": ["near", "tiered"]}}
    both["near"] = {"BACKEND": MEMORY}
    with override_settings(LLMCACHE=both):
        stores["slow"].set(A, sealed(A), 60)
        assert stores["outer"].get(A) is not None
        assert [stores[alias].get(A) is not None for alias in ("near", "fast")] == [True, True]


def test_a_key_prefix_that_would_do_nothing_is_warned_about(tmp_path: Path) -> None:
    with override_settings(LLMCACHE=settings(tmp_path)):
        described = BackendSettings(
            alias="x", backend=LAYERED, key_prefix="p", options={"layers": ["fast"]}
        )
        backend: BaseBackend = build(described)
        assert [message.id for message in backend.check()] == ["llmcache.W105"]
        assert stores["tiered"].check() == []
