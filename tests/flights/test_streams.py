"""Identical live streams are one upstream call, and nobody waits for another reader."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

import llmcache
from llmcache.exceptions import ServerFailed, StreamBroken
from llmcache.models import Call
from llmcache.recorder import flush
from llmcache.upstreams.fake import FakeUpstream

ASK: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Count " + "on and on " * 20}],
}


def opened(door: Any) -> Any:
    return door.completion(**ASK, stream=True)


@contextmanager
def ending_in(upstream: FakeUpstream, error: BaseException) -> Iterator[None]:
    """The provider's streams end in an error after their first event."""
    stream, astream = upstream.stream, upstream.astream

    def broken(request: Any) -> Any:
        yield next(stream(request))
        raise error

    async def abroken(request: Any) -> Any:
        yield await anext(astream(request))
        raise error

    upstream.stream, upstream.astream = broken, abroken  # type: ignore[method-assign]
    try:
        yield
    finally:
        del upstream.stream, upstream.astream


def raws(chunks: list[Any]) -> list[bytes]:
    return [chunk.raw for chunk in chunks]


def test_a_hundred_identical_streams_are_one_upstream_call(
    door: Any, upstream: FakeUpstream
) -> None:
    upstream.latency, upstream.chunk_latency = 0.2, 0.02
    read = door.streams_together(100, **ASK)
    assert upstream.call_count == 1
    assert len({tuple(raws(chunks)) for _, chunks in read}) == 1
    outcomes = [stream.cache.outcome for stream, _ in read]
    assert outcomes.count("miss") == 1
    assert set(outcomes) <= {"miss", "coalesced", "hit"}
    assert outcomes.count("coalesced") > 50


def test_a_reader_does_not_wait_for_a_slower_one(door: Any, upstream: FakeUpstream) -> None:
    slow = opened(door)
    first = door.chunk(slow)
    fast = opened(door)
    chunks = door.chunks(fast)
    assert raws(chunks) == raws([first, *door.chunks(slow)])
    assert (slow.cache.outcome, fast.cache.outcome) == ("miss", "coalesced")
    assert (slow.cache.stored, fast.cache.stored) == (True, False)
    assert fast.cache.saved_tokens > slow.cache.saved_tokens == 0
    assert upstream.call_count == 1
    assert opened(door).cache.hit


def test_a_follower_has_each_chunk_before_the_next_is_made(
    door: Any, upstream: FakeUpstream
) -> None:
    made = []
    stream = upstream.stream
    astream = upstream.astream

    def counted(request: Any) -> Any:
        for chunk in stream(request):
            made.append(chunk)
            yield chunk

    async def acounted(request: Any) -> Any:
        async for chunk in astream(request):
            made.append(chunk)
            yield chunk

    upstream.stream, upstream.astream = counted, acounted  # type: ignore[method-assign]
    try:
        leader, follower = opened(door), opened(door)
        for number in range(1, 4):
            door.chunk(follower)
            assert len(made) == number
        door.leave(leader)
        door.leave(follower)
    finally:
        del upstream.stream, upstream.astream


def test_a_leader_that_leaves_takes_nothing_from_its_followers(
    door: Any, upstream: FakeUpstream
) -> None:
    leader, follower = opened(door), opened(door)
    first = door.chunk(leader)
    door.leave(leader)
    chunks = door.chunks(follower)
    assert chunks[0].raw == first.raw
    again = opened(door)
    assert again.cache.hit and raws(door.chunks(again)) == raws(chunks)
    assert upstream.call_count == 1


def test_a_follower_that_leaves_takes_nothing_from_the_leader(
    door: Any, upstream: FakeUpstream
) -> None:
    leader, follower = opened(door), opened(door)
    door.chunk(follower)
    door.leave(follower)
    door.chunks(leader)
    assert opened(door).cache.hit
    assert upstream.call_count == 1


@pytest.mark.parametrize("how", ["left", "forgotten", "forgotten unread"])
def test_a_stream_that_all_have_left_is_not_stored_and_holds_up_nobody(
    door: Any, upstream: FakeUpstream, how: str
) -> None:
    leader, follower = opened(door), opened(door)
    if how != "forgotten unread":
        door.chunk(leader)
        door.chunk(follower)
    if how == "left":
        door.leave(leader)
        door.leave(follower)
    del leader, follower
    gc.collect()
    door.sleep(0.01)
    stream = opened(door)
    assert stream.cache.outcome == "miss"
    door.chunks(stream)
    assert upstream.call_count == 2
    assert opened(door).cache.hit


def test_a_provider_that_refuses_refuses_all_of_them_once(
    door: Any, upstream: FakeUpstream
) -> None:
    upstream.latency, upstream.fail = 0.2, 503
    errors = door.streams_together(20, **ASK)
    assert all(isinstance(error, ServerFailed) and error.status == 503 for error in errors)
    assert len(set(map(id, errors))) == 20
    assert upstream.call_count == 1


def test_a_stream_that_breaks_off_breaks_off_for_all_and_is_not_stored(
    door: Any, upstream: FakeUpstream
) -> None:
    with ending_in(upstream, StreamBroken("the connection was lost")):
        leader, follower = opened(door), opened(door)
        for reader in (follower, leader):
            door.chunk(reader)
            with pytest.raises(StreamBroken):
                door.chunk(reader)
    assert upstream.call_count == 1
    assert opened(door).cache.outcome == "miss"


class Interrupted(BaseException):
    """What a reader's surroundings raise in it, as gevent's Timeout and a worker's SystemExit."""


def test_a_reader_that_is_interrupted_breaks_the_stream_off_for_the_others_and_says_so(
    door: Any, upstream: FakeUpstream
) -> None:
    with ending_in(upstream, Interrupted()):
        leader, follower = opened(door), opened(door)
        for reader in (leader, follower):
            door.chunk(reader)
        with pytest.raises(Interrupted):
            door.chunk(leader)
        with pytest.raises(StreamBroken, match="was interrupted"):
            door.chunk(follower)
    again = opened(door)
    assert again.cache.outcome == "miss"
    assert len(door.chunks(again)) > 2


def test_who_waits_for_the_first_event_of_an_interrupted_reader_opens_the_stream_itself(
    upstream: FakeUpstream,
) -> None:
    stream, asked = upstream.stream, []

    def interrupted(request: Any) -> Any:
        asked.append(request)
        if len(asked) == 1:
            time.sleep(0.2)
            raise Interrupted
        yield from stream(request)

    def read(_: int) -> Any:
        try:
            found: Any = llmcache.completion(**ASK, stream=True)
            return list(found) and found.cache.outcome
        except Interrupted:
            return "interrupted"

    upstream.stream = interrupted  # type: ignore[method-assign]
    try:
        with ThreadPoolExecutor(3) as pool:
            outcomes = sorted(pool.map(read, range(3)))
    finally:
        del upstream.stream
    assert outcomes[1:] == ["interrupted", "miss"]
    assert outcomes[0] in ("coalesced", "hit")
    assert len(asked) == 2


def test_a_plain_call_reads_a_stream_that_is_under_way(door: Any, upstream: FakeUpstream) -> None:
    stream = opened(door)
    door.chunk(stream)
    plain = door.completion(**ASK)  # though nobody reads the stream on meanwhile
    assert plain.cache.outcome == "coalesced"
    said = [chunk.choices[0].delta.content or "" for chunk in door.chunks(stream)]
    assert plain.choices[0].message.content == "".join(said)
    assert upstream.call_count == 1


def test_a_stream_waits_for_a_plain_call_that_is_under_way(upstream: FakeUpstream) -> None:
    async def ask() -> tuple[Any, Any, list[Any]]:
        upstream.latency = 0.2
        plain = asyncio.ensure_future(llmcache.acompletion(**ASK))
        await asyncio.sleep(0.05)
        stream: Any = await llmcache.acompletion(**ASK, stream=True)
        return await plain, stream, [chunk async for chunk in stream]

    plain, stream, chunks = asyncio.run(ask())
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert stream.cache.outcome == "coalesced"
    assert said == plain.choices[0].message.content
    assert upstream.call_count == 1


def test_a_reader_that_is_cancelled_takes_nothing_from_the_others(upstream: FakeUpstream) -> None:
    async def read() -> list[bytes]:
        stream: Any = await llmcache.acompletion(**ASK, stream=True)
        return [chunk.raw async for chunk in stream]

    async def ask() -> tuple[list[Any], bool]:
        upstream.chunk_latency = 0.05
        readers = [asyncio.ensure_future(read()) for _ in range(5)]
        await asyncio.sleep(0.12)
        for reader in readers[:2]:  # the one that leads among them
            reader.cancel()
        read_on = await asyncio.gather(*readers[2:])
        return read_on, all(reader.cancelled() for reader in readers[:2])

    read_on, cancelled = asyncio.run(ask())
    assert cancelled
    assert len(read_on[0]) > 4 and read_on.count(read_on[0]) == 3
    assert upstream.call_count == 1


def test_an_impatient_follower_opens_a_stream_of_its_own(door: Any, settings: Any) -> None:
    from llmcache.upstreams import upstreams

    settings.LLMCACHE_CONFIG = {"SINGLE_FLIGHT_TIMEOUT": 0.1}
    upstream: Any = upstreams["default"]
    upstream.latency = 0.4
    read = door.streams_together(2, **ASK)
    assert upstream.call_count == 2
    assert {stream.cache.outcome for stream, _ in read} == {"miss"}


def test_without_single_flight_each_opens_its_own(door: Any, settings: Any) -> None:
    from llmcache.upstreams import upstreams

    settings.LLMCACHE_CONFIG = {"SINGLE_FLIGHT": False}
    upstream: Any = upstreams["default"]
    upstream.latency = 0.1
    door.streams_together(3, **ASK)
    assert upstream.call_count == 3


@pytest.mark.django_db(transaction=True)
def test_the_log_has_a_row_for_each_reader(door: Any, upstream: FakeUpstream) -> None:
    leader, follower = opened(door), opened(door)
    door.chunks(leader)
    door.chunks(follower)
    flush()
    assert sorted(Call.objects.values_list("outcome", flat=True)) == ["coalesced", "miss"]
    assert Call.objects.get(outcome="coalesced").saved_output_tokens > 0
