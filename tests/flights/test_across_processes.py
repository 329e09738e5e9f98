"""One upstream call for identical calls of several processes that share a store."""

from __future__ import annotations

import textwrap
import threading
import time
from collections.abc import Callable

import pytest

from tests.flights.asking import asking
from tests.ledger.processes import Site
from tests.servers.provider import CHAT, Behaviour, Handler, Provider, answer, hang

SYNC = """
with ThreadPoolExecutor({number}) as pool:
    answers = list(pool.map(one, range({number})))
say([told(answer) for answer in answers])
"""
ASYNC = """
answers = asyncio.run(gathered({number}))
say([told(answer) for answer in answers])
"""


def late(behaviour: Behaviour, seconds: float = 0.4) -> Behaviour:
    """A provider that thinks first."""

    def behave(handler: Handler) -> None:
        time.sleep(seconds)
        behaviour(handler)

    return behave


def all_at_once(site: Site, *codes: str) -> list[str]:
    """What the calls of all processes came to."""
    with asking(site, *codes) as processes:
        for process in processes:
            process.tell()
        return [outcome for process in processes for outcome in process.end()]


MIXED = [SYNC, ASYNC, SYNC, ASYNC]


@pytest.mark.parametrize(
    ("site", "codes"),
    [
        *((store, codes) for store in ("redis", "disk") for codes in ([SYNC] * 4, [ASYNC] * 4)),
        *((store, MIXED) for store in ("redis", "redis-cluster", "disk")),
    ],
    indirect=["site"],
)
def test_a_hundred_calls_of_four_processes_are_one_upstream(
    site: Callable[..., Site], provider: Provider, codes: list[str]
) -> None:
    provider.script(late(answer(CHAT)))
    outcomes = all_at_once(site(), *(code.format(number=25) for code in codes))
    assert len(provider.requests) == 1
    assert len(outcomes) == 100
    assert outcomes.count("miss") == 1
    assert set(outcomes) <= {"miss", "coalesced", "hit"}


@pytest.mark.parametrize("code", [SYNC, ASYNC], ids=["sync", "async"])
def test_what_a_thread_stores_later_is_waited_for(
    site: Callable[..., Site], provider: Provider, code: str
) -> None:
    provider.script(late(answer(CHAT)))
    all_at_once(site(WRITER="thread"), *[code.format(number=5)] * 3)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("code", [SYNC, ASYNC], ids=["sync", "async"])
def test_another_takes_over_from_a_process_that_was_killed(
    site: Callable[..., Site], provider: Provider, code: str
) -> None:
    provider.script(hang, answer(CHAT))
    with asking(site(SINGLE_FLIGHT_LEASE=1), *[code.format(number=3)] * 2) as (leader, follower):
        leader.tell()
        while not provider.requests:
            time.sleep(0.01)
        follower.tell()
        time.sleep(1.5)  # longer than the lease: while the leader lives, its claim is renewed
        assert len(provider.requests) == 1
        leader.kill()
        outcomes = follower.end()
    assert len(provider.requests) == 2
    assert sorted(outcomes) == ["coalesced", "coalesced", "miss"]


@pytest.mark.parametrize("code", [SYNC, ASYNC], ids=["sync", "async"])
def test_the_leaders_error_is_everybodys_once(
    site: Callable[..., Site], provider: Provider, code: str
) -> None:
    # Long enough for all to come on a busy machine: who comes after an error asks anew.
    provider.script(late(answer({"error": {"message": "no"}}, 400), 5))
    outcomes = all_at_once(site(), *[code.format(number=10)] * 3)
    assert outcomes == ["BadRequest"] * 30
    assert len(provider.requests) == 1


def test_who_comes_after_an_error_asks_anew(site: Callable[..., Site], provider: Provider) -> None:
    provider.script(answer({"error": {"message": "no"}}, 400), answer(CHAT))
    with asking(site(), *[SYNC.format(number=1)] * 2) as (first, second):
        first.tell()
        assert first.end() == ["BadRequest"]
        second.tell()
        assert second.end() == ["miss"]


def test_an_answer_that_is_not_stored_is_asked_for_once_a_process(
    site: Callable[..., Site], provider: Provider
) -> None:
    cut = {**CHAT, "choices": [{**CHAT["choices"][0], "finish_reason": "length"}]}
    provider.script(late(answer(cut)))
    outcomes = all_at_once(site(), *[SYNC.format(number=10)] * 3)
    assert set(outcomes) <= {"miss", "coalesced"}
    assert len(provider.requests) == 3


CANCELLED = """
async def impatient():
    task = asyncio.create_task(llmcache.acompletion(**arguments))
    await asyncio.to_thread(heard)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return task.cancelled()
say(asyncio.run(impatient()))
heard()
"""


def test_a_leader_that_is_cancelled_leaves_no_claim(
    site: Callable[..., Site], provider: Provider
) -> None:
    provider.script(hang, answer(CHAT))
    with asking(site(SINGLE_FLIGHT_LEASE=60), CANCELLED, SYNC.format(number=1)) as (first, second):
        first.tell()
        while not provider.requests:
            time.sleep(0.01)
        first.tell()
        assert first.hear() is True
        started = time.monotonic()
        second.tell()
        assert second.end() == ["miss"]
        assert time.monotonic() - started < 30  # far from the lease
        first.tell()
        first.end()


EMBED = """
def one(_):
    return llmcache.embedding("m", input=["a", "b"])
"""


def test_identical_lists_to_embed_are_one_upstream(
    site: Callable[..., Site], provider: Provider
) -> None:
    vectors = [{"object": "embedding", "index": at, "embedding": [0.5, at]} for at in (0, 1)]
    usage = {"prompt_tokens": 2, "total_tokens": 2}
    body = {"object": "list", "data": vectors, "model": "m", "usage": usage}
    provider.script(late(answer(body)))
    outcomes = all_at_once(site(), *[EMBED + SYNC.format(number=5)] * 3)
    assert len(provider.requests) == 1
    assert set(outcomes) <= {"miss", "coalesced", "hit"}


OLD = """
llmcache.completion(**arguments, cache={"ttl": 0.01, "stale-while-revalidate": 600})
time.sleep(0.02)
"""
RENEW = """
arguments["cache"] = {"stale-while-revalidate": 600}

def until_renewed():
    say(told(one(None)))
    while told(one(None)) != "hit":  # by a thread
        time.sleep(0.02)
"""
RENEW_ASYNC = """
arguments["cache"] = {"stale-while-revalidate": 600}

async def until_told():
    say(told((await gathered(1))[0]))
    while told((await gathered(1))[0]) != "hit":  # by a task of this loop, or by another process
        await asyncio.sleep(0.02)

def until_renewed():
    asyncio.run(until_told())
"""


def test_a_stale_answer_that_serves_four_processes_is_renewed_by_one(
    site: Callable[..., Site], provider: Provider
) -> None:
    all_served = threading.Event()

    def renewed(handler: Handler) -> None:
        all_served.wait(60)
        answer({**CHAT, "id": "chatcmpl-2"})(handler)

    provider.script(answer(CHAT), renewed)
    made = site()
    stores = made.more["stores"]
    stores["shared"] = stores["default"]
    stores["near"] = {"BACKEND": "llmcache.backends.memory.MemoryBackend"}
    stores["default"] = {
        "BACKEND": "llmcache.backends.layered.LayeredBackend",
        "OPTIONS": {"layers": ["near", "shared"], "local_ttl": 600},
    }
    codes = [OLD + RENEW, RENEW, RENEW_ASYNC, RENEW_ASYNC]
    with asking(made, *(f"{code}\nsay('set')\nheard()\nuntil_renewed()" for code in codes)) as all:
        for process in all:
            process.tell()
            assert process.hear() == "set"
        for process in all:
            process.tell()
        assert [process.hear() for process in all] == ["stale"] * 4
        all_served.set()
        for process in all:
            process.end()
    assert len(provider.requests) == 2  # the first, and one renewal


def test_a_stale_answer_that_cannot_be_renewed_leaves_no_claim(
    site: Callable[..., Site], provider: Provider
) -> None:
    refused = answer({"error": {"message": "no"}}, 400)
    provider.script(answer(CHAT), refused, answer({**CHAT, "id": "chatcmpl-2"}))
    failing = """
    while not events.counts().get("refresh_error"):
        time.sleep(0.02)
    """
    code = f"{OLD}{RENEW}one(None)\n{textwrap.dedent(failing)}until_renewed()"
    with asking(site(SINGLE_FLIGHT_LEASE=60), code) as (process,):
        process.tell()
        assert process.end() == "stale"
    assert len(provider.requests) == 3
