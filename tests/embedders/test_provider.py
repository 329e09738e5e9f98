"""Vectors from a provider's endpoint: paid for once, kept, and never waited for too long."""

from __future__ import annotations

import asyncio
import math
import threading
from array import array
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import llmcache
from llmcache.backends.base import BaseBackend
from llmcache.embedders.base import Embedded
from llmcache.envelope import unseal
from llmcache.exceptions import UpstreamError
from tests.embedders.conftest import Embed, gated, make, numbers, vectors
from tests.servers.provider import Provider, answer, hang, refusal


def test_a_vector_has_length_1_and_says_its_space_and_cost(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    found = embed(make(site), "hello")
    assert numbers(found) == pytest.approx([0.6, 0.8])
    assert found is not None
    assert found.space.endswith("text-embedding-3-small:2")
    assert found.cost == pytest.approx(5 * 2.0 / 1e6)
    assert provider.requests[0].json == {"model": "text-embedding-3-small", "input": "hello"}


def test_the_same_text_is_paid_for_once_by_all_processes(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    embedder = make(site)
    first = embed(embedder, "hello")
    again = embed(embedder, "hello")
    elsewhere = embed(make(site), "hello")  # another process has nothing in its memory
    assert first is not None and again is not None and elsewhere is not None
    assert first.data == again.data == elsewhere.data
    assert (again.cost, elsewhere.cost) == (0.0, 0.0)
    assert len(provider.requests) == 1


def test_its_entry_is_that_of_the_embedding_call(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    embed(make(site), "hello")
    response = llmcache.embedding("text-embedding-3-small", input="hello")
    assert response.cache.outcome == "hit"
    assert response.data[0].embedding == [3.0, 4.0]
    llmcache.embedding("text-embedding-3-small", input="another")
    embed(make(site), "another")
    assert len(provider.requests) == 2


@pytest.mark.parametrize("length", [2, 1536])
def test_its_entry_has_the_header_and_bytes_of_the_embedding_call(
    embed: Embed, site: BaseBackend, provider: Provider, length: int
) -> None:
    provider.script(vectors([math.sin(number + 1) for number in range(length)]))
    response = llmcache.embedding("text-embedding-3-small", input="hello")
    digest = response.cache.key
    assert digest is not None
    theirs = site.get(digest)
    site.delete(digest)
    embed(make(site), "hello")
    ours = site.get(digest)
    assert ours is not None and theirs is not None
    assert ours[4] == theirs[4]  # flags: signed, compressed
    opened, wanted = (unseal(digest, data) for data in (ours, theirs))
    assert opened.payload == wanted.payload
    assert {**opened.header, "seconds": 0} == {**wanted.header, "seconds": 0}
    assert opened.expires - opened.created == wanted.expires - wanted.created


@pytest.mark.parametrize("usage", [None, [], {"prompt_tokens": None}, {"prompt_tokens": "5"}])
def test_a_usage_that_cannot_be_read_costs_nothing_and_loses_no_vector(
    embed: Embed, site: BaseBackend, provider: Provider, usage: Any
) -> None:
    data = [{"object": "embedding", "index": 0, "embedding": [3.0, 4.0]}]
    provider.script(answer({"object": "list", "data": data, "usage": usage}))
    found = embed(make(site), "hello")
    assert found is not None and found.cost == 0.0


def test_threads_that_ask_for_one_text_at_once_pay_once(
    site: BaseBackend, provider: Provider
) -> None:
    behaviour, gate = gated(vectors([3.0, 4.0]))
    provider.script(behaviour)
    embedder = make(site, timeout=30)
    start = threading.Barrier(9)

    def ask() -> Embedded | None:
        start.wait()
        return embedder.embed("hello")

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(ask) for _ in range(8)]
        start.wait()
        threading.Timer(0.3, gate.set).start()
        found = [future.result() for future in futures]
    assert len(provider.requests) == 1
    assert len({numbers(one)[0] for one in found}) == 1
    assert sum(one.cost > 0 for one in found if one is not None) == 1


async def test_tasks_that_ask_for_one_text_at_once_pay_once(
    site: BaseBackend, provider: Provider
) -> None:
    behaviour, gate = gated(vectors([3.0, 4.0]))
    provider.script(behaviour)
    embedder = make(site, timeout=30)
    tasks = [asyncio.create_task(embedder.aembed("hello")) for _ in range(8)]
    while not provider.requests:
        await asyncio.sleep(0.01)
    tasks[-1].cancel()  # one that follows gives up, which is its own affair
    await asyncio.sleep(0.01)
    gate.set()
    found = await asyncio.gather(*tasks[:-1])
    assert len(provider.requests) == 1
    assert sum(one.cost > 0 for one in found if one is not None) == 1


async def test_when_the_task_that_asks_is_cancelled_another_takes_over(
    site: BaseBackend, provider: Provider
) -> None:
    behaviour, gate = gated(vectors([3.0, 4.0]))
    provider.script(behaviour)
    embedder = make(site, timeout=30)
    leader = asyncio.create_task(embedder.aembed("hello"))
    while not provider.requests:
        await asyncio.sleep(0.01)
    follower = asyncio.create_task(embedder.aembed("hello"))
    await asyncio.sleep(0.01)
    leader.cancel()
    gate.set()
    assert numbers(await follower) == pytest.approx([0.6, 0.8])


async def test_a_failure_is_the_failure_of_all_who_waited_for_it(
    site: BaseBackend, provider: Provider
) -> None:
    behaviour, gate = gated(refusal(500))
    provider.script(behaviour)
    embedder = make(site, timeout=30)
    tasks = [asyncio.create_task(embedder.aembed("hello")) for _ in range(4)]
    while not provider.requests:
        await asyncio.sleep(0.01)
    gate.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(error, UpstreamError) for error in ended)
    assert len(provider.requests) == 1


def test_vectors_in_base64_are_read_too(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    provider.script(vectors(b64encode(array("f", [3.0, 4.0]).tobytes()).decode()))
    assert numbers(embed(make(site), "hello")) == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize(
    "behaviour",
    [
        vectors([]),
        vectors([0.0, 0.0]),
        vectors([1e308, 1e308, 1e308, 1e308]),
        vectors(b64encode(array("f", [math.nan, 1.0]).tobytes()).decode()),
        vectors({"0": 1.0}),
        vectors(["a", "b"]),
        vectors("no base64!"),
        vectors(),
        vectors([1.0], [2.0]),
        answer({"error": "none"}),
        answer([1]),
    ],
)
def test_an_answer_without_a_vector_is_an_error_and_not_kept(
    embed: Embed, site: BaseBackend, provider: Provider, behaviour: Any
) -> None:
    provider.script(behaviour, vectors([3.0, 4.0]))
    embedder = make(site)
    with pytest.raises((ValueError, UpstreamError)):
        embed(embedder, "hello")
    assert numbers(embed(embedder, "hello")) == pytest.approx([0.6, 0.8])


def test_a_provider_that_hangs_or_fails_is_tried_once(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    provider.script(hang)
    with pytest.raises(UpstreamError):
        embed(make(site, timeout=0.1), "hello")
    provider.script(refusal(500))
    with pytest.raises(UpstreamError):
        embed(make(site), "hello")
    assert len(provider.requests) == 2


def test_a_store_that_fails_is_no_obstacle(
    embed: Embed, site: BaseBackend, counted: Callable[[str], int]
) -> None:
    class Broken(BaseBackend):
        def get(self, digest: str) -> bytes | None:
            raise OSError("no disk")

        def set(self, digest: str, data: bytes, ttl: float | None) -> None:
            raise OSError("no disk")

    embedder = make(Broken(site.settings))
    assert numbers(embed(embedder, "hello")) == pytest.approx([0.6, 0.8])
    assert counted("vector_cache_error") == 2


def test_a_text_that_is_too_long_is_not_sent(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    assert embed(make(site, max_chars=10), "x" * 11) is None
    assert provider.requests == []


def test_the_process_keeps_so_many_vectors_and_no_more(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    embedder = make(site, cache_size=1)
    embed(embedder, "one")
    embed(embedder, "two")
    site.clear()
    embed(embedder, "two")
    embed(embedder, "one")
    assert len(provider.requests) == 3


def test_a_large_vector_comes_out_with_length_1(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    provider.script(vectors([math.sin(number) for number in range(1536)]))
    found = numbers(embed(make(site), "hello"))
    assert len(found) == 1536
    assert math.hypot(*found) == pytest.approx(1.0, abs=1e-6)


def test_dimensions_are_sent_and_are_another_space(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    embed(make(site, dimensions=2), "hello")
    assert provider.requests[0].json["dimensions"] == 2
    embed(make(site), "hello")
    assert len(provider.requests) == 2
