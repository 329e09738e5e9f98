"""The renewal of what is stale, with a store or a system that fails, and others at it too."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import override_settings

import llmcache
from llmcache import afetching, caching, claims, fetching, revalidation
from llmcache.decorators import cached
from llmcache.upstreams import upstreams
from llmcache.upstreams.fake import FakeUpstream
from tests.faults.of_redis import redis_is_full
from tests.faults.parts import Part
from tests.flights.sides import until

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
WINDOW: dict[str, Any] = {"stale-while-revalidate": 600}
CONFIG = {"BACKEND_TIMEOUT": 20.0, "BREAKER_THRESHOLD": 10_000, "SINGLE_FLIGHT_LEASE": 60.0}


@pytest.fixture
def on_disk(tmp_path: Any) -> Iterator[Any]:
    """A store with claims, as the backend."""
    place = str(tmp_path / "entries")
    store = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": place}
    with override_settings(LLMCACHE={"default": store}, LLMCACHE_CONFIG=CONFIG):
        made = caching.for_alias("default")
        assert made is not None
        yield made.backend


@pytest.fixture
def full(tmp_path: Any) -> Iterator[Part]:
    """A Redis that can be read, and not written to once it is struck."""
    with (
        redis_is_full(tmp_path) as part,
        override_settings(LLMCACHE={"default": part.store}, LLMCACHE_CONFIG=CONFIG),
    ):
        yield part


def provider() -> FakeUpstream:
    fake: Any = upstreams["default"]
    return fake  # type: ignore[no-any-return]


def make_stale(door: Any) -> Any:
    first = door.completion(**ASK, cache={"ttl": 0.01, **WINDOW})
    time.sleep(0.02)
    return first


def under_way() -> list[Any]:
    tasks = [place for flights in afetching.flights._loops.values() for place in flights]
    kept = [*claims._keeper._claims, *revalidation._background]
    return [*fetching.flights._flights, *tasks, *kept]


def until_landed(door: Any) -> None:
    end = time.monotonic() + 30
    while under_way():
        assert time.monotonic() < end, under_way()
        door.sleep(0.01)


def test_a_store_that_takes_no_claim_keeps_nobody_from_renewing(
    door: Any, full: Part, counted: Callable[[str], int]
) -> None:
    first = make_stale(door)
    full.strike()
    assert door.completion(**ASK, cache=WINDOW).cache.outcome == "stale"
    until_landed(door)
    assert (provider().call_count, counted("claim_error"), counted("write_error")) == (2, 1, 1)
    full.mend()
    assert door.completion(**ASK, cache=WINDOW).id == first.id
    until_landed(door)
    assert door.completion(**ASK, cache=WINDOW).cache.outcome == "hit"
    assert provider().call_count == 3


def test_a_store_that_fails_after_the_claim_keeps_no_claim(
    door: Any, on_disk: Any, counted: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_stale(door)

    def fail(digests: Any) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(on_disk, "get_many", fail)
    assert door.completion(**ASK, cache=WINDOW).cache.outcome == "stale"
    until_landed(door)
    assert on_disk.claimed(first.cache.key) is None
    assert (provider().call_count, counted("claim_error")) == (2, 1)
    assert door.completion(**ASK, cache=WINDOW).cache.outcome == "hit"


def test_what_another_process_has_renewed_just_before_is_not_asked_for_again(
    door: Any, on_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_stale(door)
    real, others = on_disk.claim, []

    def claim(*args: Any) -> bytes:
        if not others:  # the other side has the claim, and gives it up, before this one has it
            others.append(1)
            if door.is_async:
                others.append(llmcache.completion(**ASK, cache={"no-cache": True}))
            else:
                asking = llmcache.acompletion(**ASK, cache={"no-cache": True})
                others.append(asyncio.run(asking))
        held: bytes = real(*args)
        return held

    monkeypatch.setattr(on_disk, "claim", claim)
    assert door.completion(**ASK, cache=WINDOW).id == first.id
    until_landed(door)
    assert on_disk.claimed(first.cache.key) is None
    assert provider().call_count == 2
    again = door.completion(**ASK, cache=WINDOW)
    assert (again.cache.outcome, again.id) == ("hit", others[1].id)


def test_a_loop_that_ends_while_the_claim_is_made_leaves_none_behind(
    on_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, begun, made = on_disk.claim, threading.Event(), threading.Event()

    def claim(*args: Any) -> bytes:
        begun.set()
        time.sleep(0.2)
        held: bytes = real(*args)
        made.set()
        return held

    async def serve() -> str:
        await llmcache.acompletion(**ASK, cache={"ttl": 0.01, **WINDOW})
        await asyncio.sleep(0.02)
        monkeypatch.setattr(on_disk, "claim", claim)
        stale = await llmcache.acompletion(**ASK, cache=WINDOW)
        while not begun.is_set():
            await asyncio.sleep(0.005)
        return str(stale.cache.key)

    key = asyncio.run(serve())
    assert made.wait(20)
    until(lambda: on_disk.claimed(key) is None)
    assert not claims._keeper._claims


@pytest.mark.parametrize("operation", ["claim", "get_many"])
def test_a_store_that_cannot_say_who_renews_keeps_nobody_from_it(
    door: Any,
    on_disk: Any,
    operation: str,
    failing: Callable[[Any, str, str], None],
    counted: Callable[[str], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = make_stale(door)
    for name in (operation, f"a{operation}"):
        failing(on_disk, name, "no disk")
    assert door.completion(**ASK, cache=WINDOW).id == first.id
    until_landed(door)
    assert (counted("claim_error"), provider().call_count) == (1, 2)
    monkeypatch.undo()
    assert on_disk.claimed(first.cache.key) is None
    again = door.completion(**ASK, cache=WINDOW)
    assert again.cache.outcome == "hit" and again.id != first.id


def test_a_renewal_that_cannot_even_be_written_holds_up_nobody(
    door: Any, on_disk: Any, counted: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> Any:
        raise OSError("no vectors")

    first = make_stale(door)
    for name in ("vectors", "avectors"):
        monkeypatch.setattr(fetching.similar, name, fail)
    assert door.completion(**ASK, cache=WINDOW).id == first.id
    until_landed(door)
    assert counted("refresh_error") == 1
    monkeypatch.undo()
    assert on_disk.claimed(first.cache.key) is None
    assert door.completion(**ASK, cache=WINDOW).id == first.id
    until_landed(door)
    again = door.completion(**ASK, cache=WINDOW)
    assert again.cache.outcome == "hit" and again.id != first.id


def test_a_claim_that_cannot_be_ended_costs_a_count(
    door: Any,
    on_disk: Any,
    failing: Callable[[Any, str, str], None],
    counted: Callable[[str], int],
) -> None:
    for name in ("end_claim", "aend_claim"):
        failing(on_disk, name, "no disk")
    assert door.completion(**ASK).cache.outcome == "miss"
    assert counted("claim_error") == 1
    assert door.completion(**ASK).cache.outcome == "hit"
    assert not claims._keeper._claims  # nobody goes on renewing it


def test_a_damaged_entry_is_no_renewal_of_another_process(
    door: Any, on_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, real = make_stale(door), on_disk.claim

    def claim(*args: Any) -> bytes:
        on_disk.set(first.cache.key, b"damaged", 60)
        held: bytes = real(*args)
        return held

    monkeypatch.setattr(on_disk, "claim", claim)
    assert door.completion(**ASK, cache=WINDOW).id == first.id
    until_landed(door)
    assert provider().call_count == 2
    assert door.completion(**ASK, cache=WINDOW).cache.outcome == "hit"


def test_a_loop_that_ends_ends_the_claim_of_its_renewal(on_disk: Any) -> None:
    async def serve() -> str:
        made = await llmcache.acompletion(**ASK, cache={"ttl": 0.01, **WINDOW})
        await asyncio.sleep(0.02)
        provider().latency = 60.0
        stale = await llmcache.acompletion(**ASK, cache=WINDOW)
        assert (stale.cache.outcome, stale.id) == ("stale", made.id)
        while provider().call_count < 2:
            await asyncio.sleep(0.005)
        assert on_disk.claimed(stale.cache.key) is not None
        return str(stale.cache.key)

    assert on_disk.claimed(asyncio.run(serve())) is None
    assert not claims._keeper._claims


def test_a_thread_that_cannot_be_started_costs_the_caller_nothing(
    on_disk: Any, counted: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_stale(llmcache)
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "llmcache-refresh":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    stale: Any = llmcache.completion(**ASK, cache=WINDOW)
    assert (stale.id, counted("thread_error")) == (first.id, 1)
    monkeypatch.undo()
    assert llmcache.completion(**ASK, cache=WINDOW).cache.outcome == "stale"
    until(lambda: llmcache.completion(**ASK, cache=WINDOW).cache.outcome == "hit")
    assert provider().call_count == 2


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_result_that_is_not_to_be_stored_leaves_the_old_one(
    is_async: bool, on_disk: Any, counted: Callable[[str], int]
) -> None:
    calls: list[str] = []
    options: dict[str, Any] = {"ttl": 0.01, "store_none": False, "cache": WINDOW}

    def answer(name: str) -> str | None:
        calls.append(name)
        return None if len(calls) > 1 else "old"

    async def aanswer(name: str) -> str | None:
        return answer(name)

    async def served(function: Any) -> list[str]:
        found = []
        for number in (1, 2, 3):
            found.append(await function("a") if is_async else function("a"))
            await asyncio.sleep(0.02)
            while len(calls) < number or (number > 1 and under_way()):
                await asyncio.sleep(0.005)
        return found

    decorated = cached(**options)(aanswer if is_async else answer)
    assert asyncio.run(served(decorated)) == ["old"] * 3
    assert (len(calls), counted("refresh_error")) == (3, 0)
