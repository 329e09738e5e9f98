"""A Redis Cluster one of whose nodes hangs, dies or returns: the others' entries are served."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import islice
from typing import Any

import pytest
import redis
from django.test import override_settings

from llmcache import caching
from llmcache.backends import redis_cluster
from llmcache.backends.base import Item
from tests.backends.cluster_stores import clustered, digest_on, digests, requests
from tests.backends.stores import unique
from tests.doors import AsyncDoor, SyncDoor
from tests.servers.redis_cluster import Cluster, own_cluster, until

MANY = list(islice(digests(), 60))
FAILURES = (redis.RedisError, OSError)


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    settings.LLMCACHE_CONFIG = {
        "BACKEND_TIMEOUT": 0.5,
        "BREAKER_THRESHOLD": 2,
        "BREAKER_COOLDOWN": 600,
    }


@pytest.fixture(params=[SyncDoor, AsyncDoor])
def site(request: pytest.FixtureRequest) -> Iterator[SyncDoor | AsyncDoor]:
    """The sync and then the async functions that a site calls."""
    opened = request.param()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def lasting_cluster() -> Iterator[Cluster]:
    """One that takes no node for dead while a test hangs it."""
    with own_cluster() as cluster:
        yield cluster


@pytest.fixture
def hang(lasting_cluster: Cluster) -> Iterator[Callable[[], None]]:
    """Hangs the first primary until the test ends, or until it is called again."""
    node = lasting_cluster.primaries[0]
    state = [False]

    def turn() -> None:
        state[0] = not state[0]
        node.send(signal.SIGSTOP if state[0] else signal.SIGCONT)

    yield turn
    node.send(signal.SIGCONT)
    until(lambda: bool(node.ask("PING")), "the node did not wake up")


def filled(cluster: Cluster, door: Any) -> tuple[Any, list[str], list[str]]:
    """A store that has all MANY, and which of them are on the first node, and which are not."""
    store = clustered(cluster.url)
    steps = door(store)
    steps.set_many([Item(digest, digest.encode(), 60) for digest in MANY])
    first = cluster.primaries[0]
    here = [digest for digest in MANY if cluster.owner(store.make_key(digest)) is first]
    return steps, here, [digest for digest in MANY if digest not in here]


def test_a_node_that_hangs_takes_its_own_entries_only(
    lasting_cluster: Cluster,
    hang: Callable[[], None],
    door: Any,
    counted: Callable[[str], int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps, here, others = filled(lasting_cluster, door)
    port = lasting_cluster.primaries[0].port
    hang()
    with requests() as sent, caplog.at_level(logging.WARNING, "llmcache"):
        assert steps.get_many(MANY) == {digest: digest.encode() for digest in others}
    assert sent[port] <= 1, "it was asked again although it had cost a time limit already"
    assert counted("read_error") == len(here)
    assert "could not be read" in caplog.text
    assert all(steps.get(digest) == digest.encode() for digest in others)
    with pytest.raises(FAILURES):
        steps.get_many(here)


def test_a_node_that_keeps_failing_is_left_alone_until_it_is_tried_again(
    lasting_cluster: Cluster,
    hang: Callable[[], None],
    door: Any,
    counted: Callable[[str], int],
    caplog: pytest.LogCaptureFixture,
    settings: Any,
) -> None:
    steps, here, others = filled(lasting_cluster, door)
    port = lasting_cluster.primaries[0].port
    hang()
    for _ in range(2):
        with pytest.raises(FAILURES):
            steps.get(here[0])
    assert f"127.0.0.1:{port} alone" in caplog.text
    with requests() as sent:
        assert steps.get(here[0]) is None
        assert steps.get_many([here[0], others[0]]) == {others[0]: others[0].encode()}
        for refused in (
            lambda: steps.set(here[0], b"new", 60),
            lambda: steps.delete(here[0]),
            lambda: steps.delete_many(MANY),
            lambda: steps.touch(here[0], 60),
        ):
            with pytest.raises(FAILURES, match="left alone"):
                refused()
    assert sent[port] == 0
    assert counted("node_skipped") == 2
    hang()
    settings.LLMCACHE_CONFIG = {"BACKEND_TIMEOUT": 0.5, "BREAKER_COOLDOWN": 0.05}
    steps, here, _ = filled(lasting_cluster, door)
    hang()
    for _ in range(5):
        with pytest.raises(FAILURES):
            steps.get(here[0])
    hang()
    until(lambda: steps.get(here[0]) == here[0].encode(), "the node was not tried again")
    assert steps.get_many(here) == {digest: digest.encode() for digest in here}


def test_whoever_must_know_what_is_absent_is_told_that_a_node_cannot_say(
    lasting_cluster: Cluster, hang: Callable[[], None]
) -> None:
    steps, _, others = filled(lasting_cluster, lambda store: store)
    everything = {digest: digest.encode() for digest in MANY}
    assert steps.present([*MANY, "0" * 64]) == everything
    hang()
    for _ in range(3):  # the last time it rests
        with pytest.raises(FAILURES):
            steps.present(MANY)
    assert set(steps.get_many(MANY)) == set(steps.present(others)) == set(others)


def test_a_node_that_rests_costs_no_call_of_the_others_and_fills_no_log(
    lasting_cluster: Cluster,
    hang: Callable[[], None],
    site: Any,
    counted: Callable[[str], int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    described = {
        "BACKEND": "llmcache.backends.redis.RedisBackend",
        "LOCATION": lasting_cluster.url,
        "KEY_PREFIX": unique(),
        "OPTIONS": {"cluster": True},
    }
    with override_settings(LLMCACHE={"default": described}):
        store = caching.for_alias("default")
        assert store is not None
        known = {text: ask(site, text) for text in map(str, range(24))}
        first = lasting_cluster.primaries[0]
        place = store.backend.make_key
        away = {t for t, cache in known.items() if lasting_cluster.owner(place(cache.key)) is first}
        assert away and away != known.keys()
        hang()
        while counted("node_skipped") == 0:
            for text in away:
                ask(site, text)
        caplog.clear()
        skipped = counted("write_skipped")
        outcomes = {text: ask(site, text).outcome for text in known}
        assert outcomes == {text: "miss" if text in away else "hit" for text in known}
        assert caplog.text == ""
        assert counted("write_skipped") == skipped + len(away)
        assert not store.is_resting


def ask(site: Any, text: str) -> Any:
    return site.completion("m", messages=[{"role": "user", "content": text}]).cache


def test_of_many_writes_those_to_other_nodes_arrive_and_the_failure_is_told(
    lasting_cluster: Cluster, hang: Callable[[], None], door: Any
) -> None:
    steps, _, others = filled(lasting_cluster, door)
    hang()
    with pytest.raises(FAILURES):
        steps.set_many([Item(digest, b"new", 60) for digest in MANY])
    assert steps.get_many(others) == dict.fromkeys(others, b"new")


def test_a_node_that_hangs_is_no_place_to_learn_of_the_others_for_long(
    lasting_cluster: Cluster, hang: Callable[[], None], door: Any
) -> None:
    first, second, _ = lasting_cluster.primaries
    store = clustered(f"{first.url},{second.url}")
    steps = door(store)
    digest = digest_on(lasting_cluster, second, store)
    hang()
    with pytest.raises(FAILURES):
        steps.get(digest)  # has waited for the first
    assert steps.get(digest) is None
    steps.set(digest, b"1", 60)
    assert steps.get(digest) == b"1"


def test_a_node_that_cannot_be_reached_takes_no_time_of_the_others(
    lasting_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.LLMCACHE_CONFIG = {**settings.LLMCACHE_CONFIG, "BREAKER_THRESHOLD": 3}
    steps, _, _ = filled(lasting_cluster, lambda store: store)
    real, unreachable = redis_cluster._taken, [0]

    def taken(pool: Any) -> Any:
        if unreachable[0]:
            unreachable[0] -= 1
            time.sleep(0.51)
            raise redis.TimeoutError("nobody answers")
        return real(pool)

    monkeypatch.setattr(redis_cluster, "_taken", taken)
    unreachable[0] = 1
    assert len(MANY) / 3 < len(steps.get_many(MANY)) < len(MANY)
    for _ in range(3):
        unreachable[0] = 2
        with pytest.raises(FAILURES):
            steps.get_many(MANY)
    assert 0 < len(steps.get_many(MANY)) < len(MANY), "the one that was not asked is left alone"


def test_an_answer_that_comes_too_late_is_taken_for_no_other(
    lasting_cluster: Cluster, hang: Callable[[], None], door: Any
) -> None:
    steps, here, others = filled(lasting_cluster, door)
    hang()
    assert steps.get_many([here[0], others[0]]) == {others[0]: others[0].encode()}
    waking = threading.Timer(0.2, hang)  # while the next one waits for its own
    waking.start()
    found = steps.get_many([here[1], others[1]])
    waking.join()
    assert found.get(here[1], here[1].encode()) == here[1].encode()
    until(lambda: steps.get(here[2]) == here[2].encode(), "the node did not wake up")
    assert steps.get_many(MANY) == {digest: digest.encode() for digest in MANY}


def test_a_replica_takes_over_in_the_middle_of_use(frail_cluster: Cluster) -> None:
    store = clustered(frail_cluster.url)
    first, replica = frail_cluster.primaries[0], frail_cluster.replicas[0]
    kept = digest_on(frail_cluster, first, store)
    store.set(kept, b"kept", 600)
    until(lambda: replica.ask("DBSIZE") == 1, "the replica did not follow")
    ended = threading.Event()
    wrong: list[Any] = []
    failed: list[Exception] = []
    served = [0] * 4

    def name(worker: int, number: int) -> str:
        return sha256(f"{worker} {number % 50}".encode()).hexdigest()

    def note(worker: int, digest: str, found: bytes | None) -> None:
        if found not in (None, digest.encode()):
            wrong.append((digest, found))
        served[worker] += found is not None

    def work(worker: int) -> None:
        number = 0
        while not ended.is_set():
            digest, number = name(worker, number), number + 1
            try:
                store.set(digest, digest.encode(), 60)
                note(worker, digest, store.get(digest))
            except FAILURES as error:
                failed.append(error)

    async def awork(worker: int) -> None:
        number = 0
        while not ended.is_set():
            digest, number = name(worker, number), number + 1
            try:
                await store.aset(digest, digest.encode(), 60)
                note(worker, digest, await store.aget(digest))
            except FAILURES as error:
                failed.append(error)
            await asyncio.sleep(0)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(work, 0), pool.submit(work, 1)]
        running += [pool.submit(asyncio.run, awork(worker)) for worker in (2, 3)]
        until(lambda: min(served) > 20, "nothing was served")
        first.kill()
        until(lambda: frail_cluster.is_replaced(first), "the replica did not take over")
        before = list(served)
        until(lambda: store.get(kept) == b"kept", "the replica's entries were not found")
        until(lambda: all(now > then for now, then in zip(served, before, strict=True)), "it ended")
        ended.set()
        for done in running:
            done.result()
    assert not wrong
    assert failed, "nobody noticed"
    every = [name(worker, number) for worker in range(4) for number in range(50)]
    store.set_many([Item(digest, b"new", 60) for digest in every])
    assert asyncio.run(store.aget_many(every)) == dict.fromkeys(every, b"new")
    assert clustered(frail_cluster.url).get(kept) is None, "whoever comes now cannot begin"
    store.close()
