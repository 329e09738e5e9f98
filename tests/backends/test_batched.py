"""Writes that wait: none lost, none with another ttl, each seen by the process that made it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from hashlib import sha256
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from llmcache.backends import batched
from llmcache.backends.base import Item
from llmcache.backends.batched import BatchedBackend
from llmcache.backends.memory import MemoryBackend
from llmcache.backends.redis import RedisBackend
from llmcache.conf import BackendSettings
from tests.backends.stores import unique
from tests.servers.redis import RedisServer, own_server

A, B, C = (sha256(name).hexdigest() for name in (b"a", b"b", b"c"))
LONG = 60.0


class Inner(MemoryBackend):
    """A store below that can be told to fail."""

    fails = False

    def set_many(self, items: Any) -> None:
        if self.fails:
            raise ConnectionError("down")
        super().set_many(items)


@pytest.fixture
def inner() -> Inner:
    return Inner(BackendSettings(alias="inner"))


def until(true: Any, seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.01)
    return False


def test_writes_wait_until_there_are_enough(inner: Inner, door: Any) -> None:
    store = door(BatchedBackend(inner, 3, LONG))
    store.set(A, b"1", 60)
    store.set(B, b"2", 60)
    assert inner.get_many([A, B]) == {}
    assert store.get_many([A, B, C]) == {A: b"1", B: b"2"}
    store.set(C, b"3", 60)
    assert inner.get_many([A, B, C]) == {A: b"1", B: b"2", C: b"3"}


def test_one_digest_written_often_waits_once(inner: Inner, door: Any) -> None:
    store = door(BatchedBackend(inner, 3, LONG))
    for number in range(10):
        store.set(A, str(number).encode(), 60)
    assert inner.get(A) is None
    assert store.get(A) == b"9"


def test_a_timer_sends_what_waits(inner: Inner, door: Any) -> None:
    store = door(BatchedBackend(inner, 100, 0.05))
    store.set(A, b"1", 60)
    assert until(lambda: inner.get(A) == b"1")
    store.set(B, b"2", 60)
    assert until(lambda: inner.get(B) == b"2")


def test_the_time_waited_is_part_of_the_ttl(redis_server: RedisServer) -> None:
    settings = BackendSettings(alias="r", location=redis_server.url, key_prefix=unique())
    below = RedisBackend(settings)
    store = BatchedBackend(below, 100, LONG)
    store.set_many([Item(A, b"1", 10), Item(B, b"2", None), Item(C, b"3", 0.1)])
    time.sleep(0.3)
    store.flush()
    primary: Any = below.connections.primary
    assert 9000 < primary.pttl(below.make_key(A)) <= 9700
    assert primary.pttl(below.make_key(B)) == -1
    assert primary.get(below.make_key(C)) is None
    store.clear()


def test_what_ended_while_it_waited_hides_what_it_replaced(inner: Inner, door: Any) -> None:
    inner.set(A, b"old", 60)
    store = door(BatchedBackend(inner, 100, LONG))
    store.set(A, b"new", 0.05)
    assert store.get(A) == b"new"
    time.sleep(0.1)
    assert store.get(A) is None
    assert store.get_many([A]) == {}
    assert list(store.iterate()) == []
    assert store.touch(A, 60) is False
    store.backend.flush()
    assert store.get(A) is None
    assert inner.get(A) is None


def test_delete_touch_and_clear_reach_what_waits(inner: Inner, door: Any) -> None:
    store = door(BatchedBackend(inner, 100, LONG))
    store.set_many([Item(A, b"1", 60), Item(B, b"2", 60), Item(C, b"3", 60)])
    assert store.delete(A) is True
    assert store.delete(A) is False
    assert store.touch(B, 0.05) is True
    assert sorted(store.iterate()) == sorted([B, C])
    time.sleep(0.1)
    store.backend.flush()
    assert inner.get_many([A, B, C]) == {C: b"3"}
    store.set_many([Item(A, b"1", 60), Item(C, b"newer", 60)])
    assert store.clear() == 2
    store.backend.flush()
    assert inner.get_many([A, B, C]) == {}


def test_what_could_not_be_sent_is_sent_later(inner: Inner, door: Any) -> None:
    store = door(BatchedBackend(inner, 2, 0.05))
    inner.fails = True
    store.set(A, b"1", 60)
    with pytest.raises(ConnectionError):
        store.set(B, b"2", 60)
    assert store.get_many([A, B]) == {A: b"1", B: b"2"}
    inner.fails = False
    assert until(lambda: inner.get_many([A, B]) == {A: b"1", B: b"2"})


def test_more_than_can_wait_gives_up_the_oldest_and_says_so(
    inner: Inner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(batched, "MOST_WAITING", 3)
    store = BatchedBackend(inner, 2, LONG)
    inner.fails = True
    names = [sha256(bytes([number])).hexdigest() for number in range(6)]
    for name in names:
        with suppress(ConnectionError):
            store.set(name, b"1", 60)
    inner.fails = False
    store.flush()
    assert sorted(inner.iterate()) == sorted(names[-3:])
    assert "gave up" in caplog.text


def test_a_newer_write_during_a_failing_flush_is_the_one_that_stays(inner: Inner) -> None:
    class Slow(Inner):
        def set_many(self, items: Any) -> None:
            store.set(A, b"newer", 60)
            raise ConnectionError("down")

    slow = Slow(BackendSettings(alias="slow"))
    store = BatchedBackend(slow, 100, LONG)
    store.set(A, b"older", 60)
    with pytest.raises(ConnectionError):
        store.flush()
    store.inner = inner
    store.flush()
    assert inner.get(A) == b"newer"


def test_an_entry_is_seen_while_it_is_being_sent(inner: Inner) -> None:
    seen = []

    class Looking(Inner):
        def set_many(self, items: Any) -> None:
            seen.append(store.get(A))
            super().set_many(items)

    store = BatchedBackend(Looking(BackendSettings(alias="looking")), 100, LONG)
    store.set(A, b"1", 60)
    store.flush()
    assert seen == [b"1"]
    assert store.get(A) == b"1"


def test_close_sends_what_waits(inner: Inner, door: Any) -> None:
    store = door(BatchedBackend(inner, 100, LONG))
    store.set(A, b"1", 60)
    store.close()
    assert inner.get(A) == b"1"


PROGRAM = """
import sys
from django.conf import settings
settings.configure()
from llmcache.backends.batched import BatchedBackend
from llmcache.backends.redis import RedisBackend
from llmcache.conf import BackendSettings
url, prefix, digest = sys.argv[1:]
inner = RedisBackend(BackendSettings(alias="r", location=url, key_prefix=prefix))
BatchedBackend(inner, 100, 60).set(digest, b"at exit", 60)
"""


def test_what_waits_is_sent_when_the_program_ends(redis_server: RedisServer) -> None:
    prefix = unique()
    command = [sys.executable, "-c", PROGRAM, redis_server.url, prefix, A]
    subprocess.run(command, check=True, timeout=60)
    settings = BackendSettings(alias="r", location=redis_server.url, key_prefix=prefix)
    store = RedisBackend(settings)
    assert store.get(A) == b"at exit"
    assert store.clear() == 1


def test_a_forked_child_leaves_its_parents_entries_to_the_parent(
    redis_server: RedisServer,
) -> None:
    settings = BackendSettings(alias="r", location=redis_server.url, key_prefix=unique())
    store = BatchedBackend(RedisBackend(settings), 100, LONG)
    store.set(A, b"parent", 60)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        right = False
        try:
            store.set(B, b"child", 60)
            store.flush()
            right = store.get(A) is None and store.get(B) == b"child"
        finally:
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    below = RedisBackend(settings)
    assert below.get(A) is None
    store.flush()
    assert below.get_many([A, B]) == {A: b"parent", B: b"child"}
    assert below.clear() == 2


def test_async_writes_do_not_stop_the_event_loop_while_they_are_sent() -> None:
    with own_server() as server:
        below = RedisBackend(BackendSettings(alias="r", location=server.url))
        store = BatchedBackend(below, 1, LONG)
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)

        async def use() -> int:
            turns = 0
            task = asyncio.ensure_future(store.aset(A, b"1", 60))
            while not task.done():
                turns += 1
                await asyncio.sleep(0.005)
            assert task.exception() is not None
            return turns

        try:
            assert asyncio.run(use()) > 5
        finally:
            server.process.send_signal(signal.SIGCONT)
        store.close()


def test_what_is_present_is_told_of_what_waits_and_of_what_is_below(inner: Inner) -> None:
    store = BatchedBackend(inner, 100, LONG)
    inner.set_many([Item(A, b"old", 60), Item(B, b"below", 60)])
    store.set_many([Item(A, b"new", 60), Item(C, b"over soon", 0.01)])
    inner.set(C, b"replaced", 60)
    time.sleep(0.02)
    assert store.present([A, B, C]) == {A: b"new", B: b"below"}
    assert store.present([A]) == {A: b"new"}


def test_the_checks_are_those_of_the_store_below(inner: Inner, settings: Any) -> None:
    settings.DEBUG = False
    said = [message.id for message in BatchedBackend(inner, 100, LONG).check()]
    assert said == [message.id for message in inner.check()] != []


def test_at_the_end_a_store_that_fails_does_not_keep_the_others_from_sending(
    inner: Inner, caplog: pytest.LogCaptureFixture
) -> None:
    down = Inner(BackendSettings(alias="down"))
    down.fails = True
    waiting = [BatchedBackend(below, 100, LONG) for below in (down, inner, down)]
    for store in waiting:
        store.set(A, b"1", 60)
    batched.flush_all()
    assert inner.get(A) == b"1"
    assert caplog.messages.count("Alias 'down': down") == 2
    down.fails = False
    batched.flush_all()
    assert down.get(A) == b"1"


@pytest.mark.parametrize("size", [0, -1, True, "3", 2.5])
def test_a_wrong_flush_size_is_an_error(inner: Inner, size: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="redis_flush_size"):
        BatchedBackend(inner, size)
