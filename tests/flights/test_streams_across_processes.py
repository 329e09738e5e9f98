"""Identical live streams of several processes that share a store are one upstream call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.flights.asking import asking
from tests.ledger.processes import Site
from tests.servers.provider import Provider, delta, events, stream

WORDS = [f"{number} " for number in range(20)]
SAID = [*(delta(word) for word in WORDS), delta("", "stop")]

# Each process says when all of its readers have read the first chunk, and what they read in all.
READ = """
first = threading.Semaphore(0)
def began():
    for _ in range({number}):
        first.acquire()
    say("live")

def kept(seen, chunk):
    if not seen:
        first.release()
    seen.append(chunk.choices[0].delta.content or "")
announcing = threading.Thread(target=began, daemon=True)
announcing.start()
"""
SYNC = (
    READ
    + """
def read(_):
    seen = []
    try:
        stream = llmcache.completion(**arguments, stream=True)
        for chunk in stream:
            kept(seen, chunk)
    except Exception as error:
        return repr(error), "".join(seen)
    return stream.cache.outcome, "".join(seen)

with ThreadPoolExecutor({number}) as pool:
    answers = list(pool.map(read, range({number})))
announcing.join(30)
say(answers)
"""
)
ASYNC = (
    READ
    + """
async def read():
    seen = []
    try:
        stream = await llmcache.acompletion(**arguments, stream=True)
        async for chunk in stream:
            kept(seen, chunk)
    except Exception as error:
        return repr(error), "".join(seen)
    return stream.cache.outcome, "".join(seen)

async def read_all():
    return await asyncio.gather(*(read() for _ in range({number})))

answers = asyncio.run(read_all())
announcing.join(30)
say(answers)
"""
)
SLOW = """
stream = llmcache.completion(**arguments, stream=True)
next(stream)
say("open")
heard()
list(stream)
say(stream.cache.outcome)
"""


def halting(provider: Provider, end: str = "clean") -> threading.Event:
    """Have the provider send half of a stream, and the rest once the event is set."""
    go_on = threading.Event()

    def pieces() -> Iterator[bytes]:
        said = events(*SAID)
        yield from said[:10]
        go_on.wait(60)
        if end == "clean":
            yield from said[10:]

    provider.script(stream(pieces(), end=end))
    return go_on


def both_ways(number: int) -> list[list[str]]:
    codes = [[SYNC] * 4, [ASYNC] * 4, [SYNC, ASYNC, SYNC, ASYNC]]
    return [[code.replace("{number}", str(number)) for code in each] for each in codes]


@pytest.mark.parametrize("codes", both_ways(25))
def test_a_hundred_streams_of_four_processes_are_one_upstream_call_and_all_are_live(
    site: Callable[..., Site], provider: Provider, codes: list[str]
) -> None:
    go_on = halting(provider)
    with asking(site(), *codes) as processes:
        for process in processes:
            process.tell()
        assert [process.hear() for process in processes] == ["live"] * 4
        go_on.set()
        read = [tuple(each) for process in processes for each in process.end()]
    assert len(provider.requests) == 1
    assert sorted(read) == [("coalesced", "".join(WORDS))] * 99 + [("miss", "".join(WORDS))]


def test_a_slow_reader_of_one_process_does_not_keep_the_others_waiting(
    site: Callable[..., Site], provider: Provider
) -> None:
    provider.script(stream(events(*SAID)))
    with asking(site(), SLOW, SYNC.replace("{number}", "1")) as (slow, other):
        slow.tell()
        assert slow.hear() == "open"
        other.tell()
        assert other.end() == [["coalesced", "".join(WORDS)]]
        slow.tell()
        assert slow.end() == "miss"
    assert len(provider.requests) == 1


def test_a_plain_call_of_another_process_has_a_slow_readers_stream_read_to_its_end(
    site: Callable[..., Site], provider: Provider
) -> None:
    provider.script(stream(events(*SAID)))
    plain = "answer = one(0)\nsay((told(answer), answer.choices[0].message.content))"
    with asking(site(), SLOW, plain) as (slow, other):
        slow.tell()
        assert slow.hear() == "open"
        other.tell()
        assert other.end() == ["coalesced", "".join(WORDS)]
        slow.tell()
        slow.end()
    assert len(provider.requests) == 1


def test_when_the_process_that_reads_is_killed_its_followers_hear_of_it_and_the_next_asks(
    site: Callable[..., Site], provider: Provider
) -> None:
    provider.script(stream(events(SAID[0], done=False), end="open"), stream(events(*SAID)))
    one = SYNC.replace("{number}", "1")
    with asking(site(SINGLE_FLIGHT_LEASE=1), SLOW, one, one) as (slow, other, later):
        slow.tell()
        assert slow.hear() == "open"
        other.tell()
        assert other.hear() == "live"
        slow.kill()
        [[outcome, seen]] = other.end()
        assert "the process that read the stream for all is gone" in outcome
        assert seen == WORDS[0]
        later.tell()
        assert later.end() == [["miss", "".join(WORDS)]]


def test_a_stream_that_breaks_off_breaks_off_for_all_processes(
    site: Callable[..., Site], provider: Provider
) -> None:
    go_on = halting(provider, "broken")
    with asking(site(), *[SYNC.replace("{number}", "3")] * 2) as processes:
        for process in processes:
            process.tell()
        assert [process.hear() for process in processes] == ["live"] * 2
        go_on.set()
        read = [each for process in processes for each in process.end()]
    assert all(outcome.startswith("StreamBroken") for outcome, _ in read)
    assert {seen for _, seen in read} == {"".join(WORDS[:10])}
    assert len(provider.requests) == 1
