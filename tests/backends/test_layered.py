"""What only a layered store does: which layer answers, copies upwards, layers that fail."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from llmcache.backends.base import Item
from llmcache.backends.layered import LayeredBackend
from llmcache.backends.memory import MemoryBackend
from llmcache.backends.redis import RedisBackend
from llmcache.conf import BackendSettings
from llmcache.envelope import seal
from llmcache.exceptions import UnsupportedOperation
from tests.backends.spied import A, B, C, Three, disk, sealed
from tests.servers.redis import own_server

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


def test_whoever_must_know_what_is_absent_is_told_that_a_layer_cannot_say(three: Three) -> None:
    three.top.set(A, b"1", 60)
    three.bottom.set(B, b"2", 60)
    assert three.backend.present([A, B, C]) == {A: b"1", B: b"2"}
    assert three.has(B) == [False, False, True]
    three.fail(three.middle)
    assert three.backend.present([A, B]) == {A: b"1", B: b"2"}
    assert three.backend.get_many([C]) == {}
    with pytest.raises(ConnectionError):
        three.backend.present([C])


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


def test_what_a_layer_keeps_beyond_its_end_is_not_copied(three: Three) -> None:
    three.bottom.set(A, sealed(A, ttl=-1), 60)
    three.store.get(A)
    three.store.get_many([A])
    assert [layer for layer, what in three.log if what == "set"] == []


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


def test_a_copy_in_memory_ends_when_it_is_stale_as_others_may_have_renewed_the_entry(
    door: Any, tmp_path: Path
) -> None:
    upper, lower = MemoryBackend(BackendSettings(alias="m")), disk(tmp_path)
    store, now = door(LayeredBackend.over([upper, lower], local_ttl=600)), time.time()
    for digest, left in ((A, 0.05), (B, 60)):
        data = seal(digest, b"1", created=now, expires=now + left, stale_until=now + 600)
        store.set(digest, data, 600)
        assert upper.get(digest) == data
    time.sleep(0.06)
    assert list(upper.get_many([A, B])) == [B]
    assert store.get_with_layer(A)[1] == "disk"  # and what is stale already leaves no copy
    time.sleep(0.01)
    assert upper.get(A) is None


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


def test_an_interruption_is_no_failure_of_the_layer(three: Three) -> None:
    three.bottom.set(A, sealed(A), 60)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with override_settings(LLMCACHE_CONFIG={"BREAKER_THRESHOLD": 1, "BREAKER_COOLDOWN": 600}):
        for layer in (three.top, three.bottom):
            layer.hooks["get"] = interrupt
            with pytest.raises(KeyboardInterrupt):
                three.store.backend.get(A)
        assert three.store.get_with_layer(A)[1] == "bottom"
        assert three.store.get_with_layer(A)[1] == "top"


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
