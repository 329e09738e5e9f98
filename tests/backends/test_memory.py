"""What only the in-process stores must do: keep to their bounds, and read without waiting."""

from __future__ import annotations

import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from llmcache.backends.django import DjangoCacheBackend
from llmcache.backends.memory import MemoryBackend
from llmcache.conf import BackendSettings


def digest(name: object) -> str:
    return sha256(str(name).encode()).hexdigest()


def memory(**options: Any) -> MemoryBackend:
    return MemoryBackend(BackendSettings(alias="m", options=options))


def test_no_more_entries_than_allowed_and_those_read_stay() -> None:
    store = memory(max_entries=10)
    for number in range(10):
        store.set(digest(number), b"x", 60)
    for _ in range(30):
        assert store.get(digest(3)) == b"x"
        store.set(digest(time.monotonic_ns()), b"x", 60)
        assert store.size[0] == 10
    assert store.get(digest(4)) is None


def test_no_more_bytes_than_allowed() -> None:
    store = memory(max_bytes=1000)
    for number in range(100):
        store.set(digest(number), b"x" * 90, None)
        assert store.size[1] <= 1000
    assert store.size == (11, 990)
    store.set(digest("large"), b"x" * 1000, 60)
    assert store.size == (1, 1000)


def test_what_alone_is_too_large_is_not_stored_and_replaces_nothing_by_half() -> None:
    store = memory(max_bytes=100)
    store.set(digest(1), b"small", 60)
    store.set(digest(2), b"small", 60)
    store.set(digest(1), b"x" * 101, 60)
    assert store.get(digest(1)) is None
    assert store.get(digest(2)) == b"small"


def test_the_count_of_bytes_survives_every_kind_of_change() -> None:
    store = memory(max_entries=50)
    for number in range(500):
        store.set(digest(number % 70), b"x" * (number % 13), 0.001 if number % 7 == 0 else 60)
        if number % 3 == 0:
            store.delete(digest(number % 40))
        if number % 11 == 0:
            store.sweep()
            store.get(digest(number % 70))
    live = list(store._entries)
    assert store.size == (len(live), sum(len(store._entries[name].data) for name in live))
    assert len(store._queue) <= 2 * len(live) + 65
    store.clear()
    assert store.size == (0, 0)


def test_readers_do_not_wait_for_a_writer() -> None:
    store = memory()
    store.set(digest(1), b"x", 60)
    with store._lock, ThreadPoolExecutor(1) as pool:
        assert pool.submit(store.get, digest(1)).result(timeout=10) == b"x"


def test_an_entry_that_is_being_replaced_is_never_missed() -> None:
    store = memory(max_entries=2)
    store.set(digest(1), b"0", 60)
    stop = threading.Event()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            store.set(digest(1), str(number).encode(), 60)

    try:
        with ThreadPoolExecutor(2) as pool:
            writing = pool.submit(write)
            try:
                assert all(store.get(digest(1)) is not None for _ in range(20_000))
            finally:
                stop.set()
            writing.result()
    finally:
        sys.setswitchinterval(interval)


def test_an_entry_costs_little_more_than_in_a_dict() -> None:
    def cost(fill: Any) -> int:
        tracemalloc.start()
        kept = fill()
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert kept is not None
        return used

    def plain() -> Any:
        return {digest(number): bytes(1000) for number in range(5000)}

    def ours() -> Any:
        store = memory()
        for number in range(5000):
            store.set(digest(number), bytes(1000), 60)
        return store

    assert cost(ours) <= 1.1 * cost(plain)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_entry": 5}, "Did you mean 'max_entries'"),
        ({"max_entries": 0}, "integer above 0"),
        ({"max_entries": 2.5}, "integer above 0"),
        ({"max_bytes": True}, "integer above 0"),
    ],
    ids=str,
)
def test_wrong_options_are_errors(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        memory(**options)


def locmem(**options: Any) -> Any:
    backend = "django.core.cache.backends.locmem.LocMemCache"
    entry = {"BACKEND": backend, "LOCATION": "test_memory", "OPTIONS": options}
    return override_settings(CACHES={"default": entry})


def test_locmem_keeps_to_max_entries_and_leaves_other_keys_readable() -> None:
    with locmem(MAX_ENTRIES=20):
        caches["default"].clear()
        caches["default"].set("theirs", {"a": 1}, 60)
        store = DjangoCacheBackend(BackendSettings(alias="m"))
        for number in range(100):
            store.set(digest(number), b"x", 60)
            assert caches["default"].get("theirs") == {"a": 1}
            assert len(caches["default"]._cache) <= 20  # type: ignore[attr-defined]
        assert store.clear() > 0
        assert caches["default"].get("theirs") == {"a": 1}


def test_locmem_forgets_the_unread_first() -> None:
    with locmem(MAX_ENTRIES=20):
        caches["default"].clear()
        store = DjangoCacheBackend(BackendSettings(alias="m"))
        store.set(digest("read"), b"x", 60)
        for number in range(100):
            store.set(digest(number), b"x", 60)
            assert store.get(digest("read")) == b"x"


def test_reading_locmem_does_not_wait_for_a_writer() -> None:
    with locmem():
        store = DjangoCacheBackend(BackendSettings(alias="m"))
        store.set(digest(1), b"x", 60)
        with caches["default"]._lock, ThreadPoolExecutor(1) as pool:  # type: ignore[attr-defined]
            assert pool.submit(store.get, digest(1)).result(timeout=10) == b"x"


def test_a_store_in_one_process_is_warned_of_unless_in_development() -> None:
    with override_settings(DEBUG=False):
        assert [message.id for message in memory().check()] == ["llmcache.W101"]
    with override_settings(DEBUG=True):
        assert memory().check() == []
