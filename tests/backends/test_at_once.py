"""Many tasks of one event loop at a store at once: each gets its own, and none is turned away."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import redis
from django.test import override_settings

import llmcache
from llmcache.backends.base import BaseBackend
from llmcache.backends.deadlines import Deadline
from llmcache.backends.disk import DiskBackend
from llmcache.backends.exchanges import MOST, Exchanges
from llmcache.backends.gathering import Found, Gathering
from llmcache.conf import BackendSettings
from tests.backends.redis_stores import direct
from tests.backends.stores import Make
from tests.backends.test_disk import PICKLE, rows
from tests.servers.redis import RedisServer

REDIS = "llmcache.backends.redis.RedisBackend"


def names(number: int) -> list[str]:
    return [sha256(str(n).encode()).hexdigest() for n in range(number)]


@pytest.fixture(autouse=True)
def patient(settings: Any) -> None:
    settings.LLMCACHE_CONFIG = {"BACKEND_TIMEOUT": 5.0}


async def all_of(ask: Callable[[str], Awaitable[Any]], digests: list[str]) -> list[Any]:
    """What each task gets, errors included."""
    return await asyncio.gather(*(ask(digest) for digest in digests), return_exceptions=True)


def test_tasks_that_read_at_once_each_get_their_own(make: Make) -> None:
    store, digests = make(), names(60)
    there = {digest: digest.encode() for digest in digests[::2]}
    for digest, data in there.items():
        store.set(digest, data, 60)
    asked = [*digests, *digests[:20]]  # some ask for the same

    async def twice() -> None:
        for _ in range(2):
            found = await all_of(store.aget, asked)
            assert found == [there.get(digest) for digest in asked]
        await store.aclose()

    asyncio.run(twice())


def test_event_loops_of_several_threads_do_not_meet(make: Make) -> None:
    store, digests = make(), names(20)
    for digest in digests:
        store.set(digest, digest.encode(), 60)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(asyncio.run(all_of(store.aget, digests))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[digest.encode() for digest in digests]] * 4


# --- reads that go together ---


class Counting(DiskBackend):
    """Notes how many entries each change of threads has read."""

    def __init__(self, place: Path) -> None:
        super().__init__(BackendSettings(alias="disk", location=str(place)))
        self.together: list[int] = []

    def _get_each(self, digests: Sequence[str]) -> dict[str, Found]:
        self.together.append(len(digests))
        return super()._get_each(digests)


def test_many_reads_take_few_changes_of_threads(tmp_path: Path) -> None:
    store, digests = Counting(tmp_path), names(100)
    for digest in digests:
        store.set(digest, b"1", 60)
    assert asyncio.run(all_of(store.aget, digests)) == [b"1"] * 100
    assert sum(store.together) == 99  # the first one went alone
    assert len(store.together) < 10
    store.close()


def test_what_is_wrong_with_an_entry_is_its_own_readers_affair(tmp_path: Path) -> None:
    store = DiskBackend(BackendSettings(alias="disk", location=str(tmp_path)))
    digests = names(30)
    for digest in digests:
        store.set(digest, b"1", 60)
    key = store.make_key(digests[7])
    rows(tmp_path, "UPDATE Cache SET mode = ? WHERE key = ?", PICKLE, key)
    found = asyncio.run(all_of(store.aget, digests))
    assert [n for n, each in enumerate(found) if each != b"1"] == [7]
    assert "not plain bytes" in str(found[7])
    store.close()


class Slow(BaseBackend):
    """Lets its reads wait until somebody says `go`."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.reads: list[list[str]] = []
        self.gathering = Gathering(self._one, self._many)

    async def _one(self, digest: str) -> bytes:
        return (await self._many([digest]))[digest]

    async def _many(self, digests: Any) -> dict[str, bytes]:
        self.reads.append(list(digests))
        await self.go.wait()
        if "fails" in digests:
            raise ConnectionError("gone")
        return {digest: digest.encode() for digest in digests}


async def started(store: Slow, digests: list[str]) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.ensure_future(store.gathering.get(digest)) for digest in digests]
    while sum(map(len, store.reads)) < len(digests):
        await asyncio.sleep(0)
    return tasks


async def test_a_reader_who_leaves_takes_nobody_along() -> None:
    store = Slow()
    tasks = await started(store, ["a", "b", "c", "d"])
    assert store.reads == [["a"], ["b", "c", "d"]]
    tasks[1].cancel()
    await asyncio.sleep(0)
    store.go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(found[1]), *found[::2], found[3]] == [asyncio.CancelledError, b"a", b"c", b"d"]


async def test_an_error_of_the_store_reaches_all_who_read_together() -> None:
    store = Slow()
    tasks = await started(store, ["a", "b", "fails", "d"])
    store.go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert found[0] == b"a"
    assert [str(each) for each in found[1:]] == ["gone"] * 3
    assert await store.gathering.get("b") == b"b"


async def test_who_reads_for_the_others_leaves_none_of_them_waiting_when_it_is_cancelled() -> None:
    store = Slow()
    tasks = await started(store, ["a", "b", "c"])
    (turn,) = store.gathering._turns.values()
    for serving in list(turn.tasks):  # as whoever ends a loop cancels all that runs there
        serving.cancel()
    found = await asyncio.gather(*tasks[1:], return_exceptions=True)
    assert [type(each) for each in found] == [asyncio.CancelledError] * 2
    store.go.set()
    assert await tasks[0] == b"a"
    assert turn.under_way == 0
    assert await store.gathering.get("d") == b"d"


# --- exchanges that take turns ---


def test_a_thousand_tasks_need_few_connections_and_none_is_refused(own_redis: RedisServer) -> None:
    store, digests = direct(own_redis.url), names(1000)

    async def crowd() -> int:
        written = await all_of(lambda digest: store.aset(digest, b"1", 60), digests)
        assert written == [None] * 1000
        assert await all_of(store.aget, digests) == [b"1"] * 1000
        assert await all_of(store.adelete, digests) == [True] * 1000
        raw: Any = redis.Redis.from_url(own_redis.url)
        connected: int = raw.info("clients")["connected_clients"]
        raw.close()
        return connected

    assert asyncio.run(crowd()) <= MOST + 2
    store.close()


def test_who_leaves_while_the_connection_is_opened_takes_nobody_along(
    own_redis: RedisServer,
) -> None:
    store, digests = direct(own_redis.url), names(20)
    for digest in digests:
        store.set(digest, b"1", 60)

    async def crowd() -> list[Any]:
        tasks = [asyncio.ensure_future(store.aget(digest)) for digest in digests]
        await asyncio.sleep(0)
        tasks[0].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(crowd())
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == [b"1"] * 19
    store.close()


def test_tasks_share_as_many_connections_as_the_settings_allow(own_redis: RedisServer) -> None:
    store, digests = direct(own_redis.url, options={"max_connections": 2}), names(50)
    written = asyncio.run(all_of(lambda digest: store.aset(digest, b"1", 60), digests))
    assert written == [None] * 50
    store.close()


def test_no_thread_is_turned_away_however_many_write(redis_server: RedisServer) -> None:
    store, digests = direct(redis_server.url), names(150)
    together, failed = threading.Barrier(len(digests)), []

    def write(digest: str) -> None:
        together.wait()
        for _ in range(5):
            try:
                store.set(digest, b"1" * 50_000, 60)
            except redis.RedisError as error:
                failed.append(repr(error))

    threads = [threading.Thread(target=write, args=(digest,)) for digest in digests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(store.get_many(digests)) == len(digests)
    store.close()


async def test_the_time_of_an_exchange_begins_when_it_is_its_turn() -> None:
    exchanges = Exchanges(bound=2.0, most=1)

    async def take() -> None:
        async with exchanges.one():
            await asyncio.sleep(0.1)

    await asyncio.gather(*(take() for _ in range(30)))


async def test_an_exchange_that_hangs_is_waited_for_once() -> None:
    exchanges, begun = Exchanges(bound=0.2, most=1), []

    async def take(number: int) -> None:
        async with exchanges.one():
            begun.append(number)
            await asyncio.Event().wait()

    found = await asyncio.gather(*(take(n) for n in range(20)), return_exceptions=True)
    assert {type(each) for each in found} == {TimeoutError}
    assert begun == [0]
    async with exchanges.one():  # whoever comes later has not waited in vain
        begun.append(20)
    assert begun == [0, 20]


# --- a loop that is late ---


def answer_later(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
    """Answer from another thread, as a server would, while the loop is busy."""
    threading.Timer(0.02, loop.call_soon_threadsafe, (future.set_result, None)).start()


async def test_an_answer_that_came_in_time_counts_though_the_loop_was_late() -> None:
    exchanges, loop = Exchanges(bound=0.1), asyncio.get_running_loop()
    for _ in range(3):
        future: asyncio.Future[None] = loop.create_future()
        async with exchanges.one():
            answer_later(loop, future)
            loop.call_soon(time.sleep, 0.3)
            await future


async def test_what_never_comes_is_given_up_though_the_loop_was_late() -> None:
    loop = asyncio.get_running_loop()
    loop.call_soon(time.sleep, 0.2)
    with pytest.raises(TimeoutError):
        async with Exchanges(bound=0.05).one():
            await asyncio.Event().wait()


async def test_a_loop_that_is_always_late_gives_up_in_the_end() -> None:
    loop, over, turns = asyncio.get_running_loop(), asyncio.Event(), 0

    def busy() -> None:
        nonlocal turns
        turns += 1
        time.sleep(0.03)
        if not over.is_set():
            loop.call_soon(busy)

    busy()
    Deadline(loop, 0.02, over.set)
    await over.wait()
    assert turns < 100


def test_a_thousand_calls_at_once_are_answered_and_stored(own_redis: RedisServer) -> None:
    settings = {"default": {"BACKEND": REDIS, "LOCATION": own_redis.url}}

    async def ask() -> Counter[str]:
        calls = (
            llmcache.acompletion("m", messages=[{"role": "user", "content": str(number)}])
            for number in range(1000)
        )
        return Counter(answer.cache.outcome for answer in await asyncio.gather(*calls))

    with override_settings(
        LLMCACHE=settings, LLMCACHE_CONFIG={"RECORDER": "off", "BACKEND_TIMEOUT": 20}
    ):
        assert asyncio.run(ask()) == {"miss": 1000}
        assert asyncio.run(ask()) == {"hit": 1000}
