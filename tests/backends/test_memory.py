"""What only the store in memory does: its bounds, whom it evicts, reads beside writers."""

from __future__ import annotations

import os
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from llmcache.backends.memory import MemoryBackend
from llmcache.conf import BackendSettings


def name(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()


def memory(**options: Any) -> MemoryBackend:
    return MemoryBackend(BackendSettings(alias="memory", options=options))


def test_the_bytes_are_kept_as_they_are_and_not_copied() -> None:
    store, data = memory(), os.urandom(1000)
    store.set(name(1), data, 60)
    assert store.get(name(1)) is data


def test_no_more_entries_than_max_entries_are_kept() -> None:
    store = memory(max_entries=10)
    for number in range(25):
        store.set(name(number), b"x", 60)
    assert store.size == (10, 10)
    assert store.get(name(24)) == b"x"


def test_no_more_bytes_than_max_bytes_are_kept() -> None:
    store = memory(max_bytes=1000)
    for number in range(25):
        store.set(name(number), bytes(100 + number), 60)
        assert store.size[1] <= 1000
    assert store.get(name(24)) == bytes(124)
    store.set(name(24), bytes(1000), 60)
    assert store.size == (1, 1000)


def test_what_alone_exceeds_max_bytes_is_not_stored_and_hides_no_older_entry() -> None:
    store = memory(max_bytes=100)
    store.set(name(1), b"old", 60)
    store.set(name(2), b"kept", 60)
    store.set(name(1), bytes(101), 60)
    assert store.get_many([name(1), name(2)]) == {name(2): b"kept"}
    assert store.size == (1, 4)


def test_an_entry_that_is_read_outlives_those_that_are_not() -> None:
    store = memory(max_entries=10)
    for number in range(200):
        store.set(name(number), b"x", 60)
        assert store.get(name(0)) == b"x"
    assert store.get(name(1)) is None


def test_an_entry_that_has_ended_is_not_spared_because_it_was_read() -> None:
    store = memory(max_entries=3)
    store.set(name(0), b"x", 0.05)
    assert store.get(name(0)) == b"x"
    time.sleep(0.06)
    for number in (1, 2, 3):
        store.set(name(number), b"x", 60)
    assert [store.get(name(number)) for number in (1, 2, 3)] == [b"x"] * 3


def test_entries_that_were_replaced_or_deleted_leave_nothing_behind() -> None:
    store = memory()
    for number in range(5000):
        store.set(name(number % 3), bytes(number), 60)
        store.set(name(3), b"x", 60)
        store.delete(name(3))
    assert store.size == (3, 4999 + 4998 + 4997)
    assert len(store._queue) < 100
    assert store.clear() == 3
    assert store.size == (0, 0)


def test_the_count_of_bytes_stays_right_under_threads() -> None:
    store = memory(max_entries=50, max_bytes=20_000)

    def work(thread: int) -> None:
        for number in range(500):
            key = name((number * 7 + thread) % 80)
            store.set(key, bytes(number), 0.001 if number % 5 == 0 else 60)
            store.get(key)
            if number % 3 == 0:
                store.delete(key)
            if number % 50 == 0:
                store.sweep()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries, used = store.size
    assert used == sum(len(entry.data) for entry in store._entries.values())
    assert entries <= 50
    assert used <= 20_000


def test_a_read_does_not_wait_for_a_writer() -> None:
    store = memory()
    store.set(name(1), b"x", 60)
    with store._lock:
        assert store.get(name(1)) == b"x"
        assert store.get(name(2)) is None


def test_a_fork_while_another_thread_writes_does_not_stop_the_child() -> None:
    store = memory()
    store.set(name(1), b"x", 60)
    with store._lock:
        child = os.fork()
        if child == 0:
            store.set(name(2), b"y", 60)
            os._exit(0 if store.get_many([name(1), name(2)]).keys() == {name(1), name(2)} else 1)
    end = time.monotonic() + 30
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.01)
    if ended == (0, 0):
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert ended == (child, 0)
    assert store.get(name(2)) is None


def test_an_entry_that_is_being_replaced_is_never_missed() -> None:
    store = memory(max_entries=2)
    store.set(name(1), b"0", 60)
    stop = threading.Event()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            store.set(name(1), str(number).encode(), 60)

    try:
        with ThreadPoolExecutor(2) as pool:
            writing = pool.submit(write)
            try:
                assert all(store.get(name(1)) is not None for _ in range(20_000))
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
        return {name(number): bytes(1000) for number in range(5000)}

    def ours() -> Any:
        store = memory()
        for number in range(5000):
            store.set(name(number), bytes(1000), 60)
        return store

    assert cost(ours) <= 1.1 * cost(plain)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_entires": 5}, "Did you mean 'max_entries'.*Known: max_bytes, max_entries"),
        ({"max_entries": 0}, "max_entries.*an integer from 1 up"),
        ({"max_bytes": 1.5}, "max_bytes.*an integer from 1 up"),
        ({"max_bytes": True}, "max_bytes.*an integer from 1 up"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_remedy(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        memory(**options)


def test_outside_development_a_store_in_one_process_is_warned_about() -> None:
    assert [message.id for message in memory().check()] == ["llmcache.W101"]
    with override_settings(DEBUG=True):
        assert memory().check() == []
