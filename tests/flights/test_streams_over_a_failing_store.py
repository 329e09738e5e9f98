"""A stream that another process reads, while the store that tells of it fails, forgets or lies."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llmcache import caching, listening, relays
from llmcache.broadcast import Broadcast
from llmcache.claims import Claim
from llmcache.envelope import seal
from llmcache.exceptions import StreamBroken
from llmcache.listening import Listener, batch_slot
from tests.faults.parts import no_threads
from tests.flights.sides import said, strike, until
from tests.servers.provider import Provider, delta, events, stream
from tests.servers.proxy import Proxy

WORDS = [f"{number} " for number in range(20)]
HALF = 10


@pytest.fixture
def go_on(provider: Provider) -> Iterator[Callable[[str], None]]:
    """The provider has sent half of its stream; a call has it send the rest, or end it."""
    held, how = threading.Event(), ["clean"]

    def pieces() -> Iterator[bytes]:
        found = events(*(delta(word) for word in WORDS), delta("", "stop"))
        yield from found[:HALF]
        held.wait(60)
        if how[0] == "broken":
            yield found[HALF]
            raise OSError("cut")
        yield from found[HALF:]

    def end(kind: str = "clean") -> None:
        how[0] = kind
        held.set()

    provider.script(stream(pieces()))
    yield end
    held.set()


def half_read(sides: tuple[Any, Any]) -> tuple[Any, Any]:
    """Both streams, each half read."""
    leading, following = (side.open() for side in sides)
    assert (leading.cache.outcome, following.cache.outcome) == ("miss", "coalesced")
    for side, read in zip(sides, (leading, following), strict=True):
        assert said(side.some(read, HALF)) == WORDS[:HALF]
    return leading, following


def slots() -> tuple[Any, Callable[[int], str]]:
    """The store's backend, and where the stream's batches are."""
    store = caching.for_alias("default")
    assert store is not None
    [claim] = relays.claims._keeper._claims
    return store.backend, lambda number: batch_slot(claim.name, claim.token, number)


def next_number(backend: Any, slot: Callable[[int], str]) -> int:
    """The number of the batch that is to come."""
    return next(number for number in range(HALF + 1) if backend.posted(slot(number)) is None)


def lose_the_next_batch(network: Proxy, send: Callable[[], None], counted: Any) -> None:
    """The store fails when the next batch comes."""
    network.delay = 60.0
    send()
    until(lambda: counted("claim_error"))
    network.delay = 0.0
    network.cut_all()


def test_a_store_that_fails_for_a_moment_takes_nothing_from_who_follows(
    sides: tuple[Any, Any], network: Proxy, go_on: Any, counted: Any, provider: Provider
) -> None:
    leader, follower = sides
    leading, following = half_read(sides)
    strike(network)
    heard = follower.rest(following)
    until(lambda: counted("claim_error"))
    network.refuses = False
    go_on()
    assert said(leader.rest(leading).result(60)) == WORDS[HALF:]
    assert said(heard.result(60)) == WORDS[HALF:]
    assert len(provider.requests) == 1


def test_a_store_that_fails_for_good_breaks_the_stream_off_for_who_follows_and_nobody_else(
    sides: tuple[Any, Any], network: Proxy, go_on: Any
) -> None:
    leader, follower = sides
    leading, following = half_read(sides)
    strike(network)
    with pytest.raises(StreamBroken, match="the store"):
        follower.rest(following).result(60)
    go_on()
    assert said(leader.rest(leading).result(60)) == WORDS[HALF:]


def test_a_batch_whose_storing_was_not_confirmed_is_no_end_of_the_stream(
    sides: tuple[Any, Any], go_on: Any, counted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = sides
    leading, following = half_read(sides)
    backend, _ = slots()
    post, apost, confirmed = backend.post, backend.apost, iter([False])

    def confirm() -> None:
        if not next(confirmed, True):
            raise TimeoutError("the answer to it did not come")

    def unsure(*batch: Any) -> None:
        post(*batch)
        confirm()

    async def aunsure(*batch: Any) -> None:
        await apost(*batch)
        confirm()

    monkeypatch.setattr(backend, "post", unsure)
    monkeypatch.setattr(backend, "apost", aunsure)
    go_on()
    assert said(leader.rest(leading).result(60)) == WORDS[HALF:]
    assert said(follower.rest(following).result(60)) == WORDS[HALF:]
    assert counted("claim_error") == 1


def test_batches_that_cannot_be_opened_are_read_in_the_entry(
    sides: tuple[Any, Any], go_on: Any
) -> None:
    leader, follower = sides
    leading, following = half_read(sides)
    backend, slot = slots()
    number = next_number(backend, slot)
    go_on()
    assert said(leader.rest(leading).result(60)) == WORDS[HALF:]
    until(lambda: not relays.claims._keeper._claims)
    for each in range(number, number + HALF + 2):
        backend.post(slot(each), b"no batch", 60)
    assert said(follower.rest(following).result(60)) == WORDS[HALF:]


def test_the_error_of_a_stream_is_heard_of_though_its_batches_are_lost(
    sides: tuple[Any, Any], network: Proxy, go_on: Any, counted: Any
) -> None:
    leader, follower = sides
    leading, following = half_read(sides)
    lose_the_next_batch(network, lambda: go_on("broken"), counted)
    heard = follower.rest(following)
    with pytest.raises(StreamBroken) as own:
        leader.rest(leading).result(60)
    with pytest.raises(StreamBroken) as told:
        heard.result(60)
    assert str(told.value) == str(own.value)


def test_a_stream_is_still_offered_after_the_store_has_failed(
    sides: tuple[Any, Any], network: Proxy, go_on: Any, counted: Any
) -> None:
    leader, follower = sides
    leading = leader.open()
    strike(network)
    until(lambda: counted("claim_error"))
    network.refuses = False
    following = follower.open()
    assert following.cache.outcome == "coalesced"
    go_on()
    heard = follower.rest(following)
    assert said(leader.rest(leading).result(60)) == WORDS
    assert said(heard.result(60)) == WORDS


def test_who_comes_when_nobody_has_waited_for_a_while_hears_it_from_the_beginning(
    sides: tuple[Any, Any], go_on: Any, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (listening, relays):
        monkeypatch.setattr(module, "WISH_STAYS", 0.2)
    leader, follower = sides
    leading, following = half_read(sides)
    follower.leave(following)
    time.sleep(0.3)
    assert not relays.watch._relays
    go_on()
    until(lambda: relays.watch._relays)  # it looks again whether somebody waits
    again = follower.open()
    assert again.cache.outcome == "coalesced"
    heard = follower.rest(again)
    assert said(leader.rest(leading).result(60)) == WORDS[HALF:]
    assert said(heard.result(60)) == WORDS
    assert len(provider.requests) == 1


@pytest.mark.parametrize("sides", ["async follows sync"], indirect=True)
def test_a_stream_that_no_thread_can_pass_on_is_offered_until_one_can(
    sides: tuple[Any, Any], go_on: Any, counted: Any, provider: Provider
) -> None:
    leader, follower = sides
    leading = leader.open()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(until, lambda: True).result(60)  # it has its thread
        with no_threads():
            opening = pool.submit(follower.open)
            until(lambda: counted("thread_error") > 1)
        following = opening.result(60)
    assert following.cache.outcome == "coalesced"
    go_on()
    heard = follower.rest(following)
    assert said(leader.rest(leading).result(60)) == WORDS
    assert said(heard.result(60)) == WORDS
    assert len(provider.requests) == 1


def test_a_stream_that_all_have_left_is_offered_no_more(network: Proxy) -> None:
    store = caching.for_alias("default")
    assert store is not None and store.claims is not None
    broadcast = Broadcast()
    relays.offer(Claim(store, store.claims, "0" * 64), broadcast)
    broadcast.leave()
    until(lambda: not relays.watch._relays)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_slow_reader_does_not_take_the_time_in_which_the_last_batch_may_come(
    network: Proxy, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_GRACE", 0.2)
    store = caching.for_alias("default")
    assert store is not None and store.claims is not None
    claim, backend = Claim(store, store.claims, "0" * 64), store.claims
    batches = iter([(b"1", {}), (b"2", {}), (b"3", {"end": True})])

    def post() -> tuple[()]:
        for number, (event, header) in enumerate(batches, len(posted)):
            slot = batch_slot(claim.name, claim.token, number)
            posted.append(event)
            backend.post(slot, seal(slot, event, created=time.time(), header=header), 60)
            break
        return ()

    posted: list[bytes] = []
    post()
    listener, heard = Listener(), []
    assert listener.hears(claim.token, claim)  # though the claim has ended
    if way == "sync":
        for event in listener.events(post):
            heard.append(event)
            time.sleep(0.3)
    else:

        async def apost() -> tuple[()]:
            return post()

        async def read() -> None:
            async for event in listener.aevents(apost):
                heard.append(event)
                await asyncio.sleep(0.3)
            await backend.aclose()

        asyncio.run(read())
    assert heard == [b"1", b"2", b"3"]
