"""What only a store in a Redis Cluster must do: find its keys, wherever they are, in few trips."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import redis

from llmcache.backends.base import CLAIM, Item
from llmcache.backends.batched import BatchedBackend
from llmcache.backends.redis import RedisBackend
from llmcache.conf import BackendSettings
from llmcache.testing.twins import Door
from tests.backends.cluster_stores import (
    clustered,
    counted_keys,
    digest_on,
    digests,
    requests,
)
from tests.backends.redis_stores import nothing_left_open
from tests.backends.stores import unique
from tests.servers.redis import RedisServer
from tests.servers.redis_cluster import Cluster, own_cluster, until

MANY = list(islice(digests(), 60))


@pytest.fixture(autouse=True)
def patient(settings: Any) -> None:
    """A machine under load may keep a healthy node waiting for more than our default."""
    settings.LLMCACHE_CONFIG = {"BACKEND_TIMEOUT": 5.0}


def test_entries_lie_on_all_nodes_under_the_names_of_a_single_server(
    redis_cluster: Cluster, door: Any
) -> None:
    store = clustered(redis_cluster.url)
    door(store).set_many([Item(digest, digest.encode(), 60) for digest in MANY])
    found = counted_keys(redis_cluster, store)
    assert sum(found) == len(MANY)
    assert all(found)
    single = RedisBackend(
        BackendSettings(alias="s", location="redis://h", key_prefix=store.settings.key_prefix)
    )
    assert store.make_key(MANY[0]) == single.make_key(MANY[0])
    assert door(store).clear() == len(MANY)
    assert counted_keys(redis_cluster, store) == [0, 0, 0]


def test_many_entries_take_one_round_trip_a_node(redis_cluster: Cluster, door: Any) -> None:
    store = door(clustered(redis_cluster.url))
    store.set_many([Item(digest, b"1", 60) for digest in MANY])
    once_each = dict.fromkeys((node.port for node in redis_cluster.primaries), 1)
    with requests() as sent:
        store.set_many([Item(digest, b"2", 60) for digest in MANY])
    assert sent == once_each
    with requests() as sent:
        assert store.get_many(MANY) == dict.fromkeys(MANY, b"2")
    assert sent == once_each
    with requests() as sent:
        assert store.delete_many(MANY) == len(MANY)
    assert sent == once_each


def test_one_node_that_is_named_and_there_is_enough(redis_cluster: Cluster, door: Any) -> None:
    gone = "redis://127.0.0.1:1"
    store = door(clustered(f"{gone},{redis_cluster.primaries[2].url}"))
    store.set_many([Item(digest, b"1", 60) for digest in MANY])
    assert store.get_many(MANY) == dict.fromkeys(MANY, b"1")
    assert store.clear() == len(MANY)


def test_options_may_name_the_node(redis_cluster: Cluster) -> None:
    options = {"cluster": True, "host": "127.0.0.1", "port": redis_cluster.primaries[0].port}
    store = RedisBackend(BackendSettings(alias="c", key_prefix=unique(), options=options))
    store.set_many([Item(digest, b"1", 60) for digest in MANY])
    assert sorted(store.iterate()) == sorted(MANY)
    assert store.clear() == len(MANY)


def test_a_server_that_is_no_cluster_is_said_to_be_none(
    redis_server: RedisServer, door: Any
) -> None:
    with pytest.raises(redis.RedisError, match="cluster support disabled"):
        door(clustered(redis_server.url)).get(MANY[0])


def test_no_node_that_is_there_is_an_error(door: Any) -> None:
    with pytest.raises(redis.ConnectionError):
        door(clustered("redis://127.0.0.1:1,redis://127.0.0.1:2")).get(MANY[0])


@pytest.fixture(scope="module")
def moving_cluster() -> Iterator[Cluster]:
    """One whose slots tests move; each has keys, and so slots, of its own."""
    with own_cluster() as cluster:
        yield cluster


def test_a_slot_that_has_moved_is_found_and_its_place_remembered(
    moving_cluster: Cluster, door: Any
) -> None:
    store = clustered(moving_cluster.url)
    source, target = moving_cluster.primaries[1:]
    steps, digest = door(store), digest_on(moving_cluster, source, store)
    steps.set_many([Item(name, b"old", 60) for name in {digest, *MANY}])
    moving_cluster.move(store.make_key(digest), target)
    assert steps.get_many({digest, *MANY}) == dict.fromkeys({digest, *MANY}, b"old")
    with requests() as sent:
        assert steps.get(digest) == b"old"
    assert sent == {target.port: 1}


STEPS = ["get", "get_many", "set", "replace", "touch", "delete", "claim"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("done", [True, False], ids=["moved", "on its way"])
def test_every_step_reaches_keys_that_move(
    moving_cluster: Cluster, door: Any, step: str, done: bool
) -> None:
    store = clustered(moving_cluster.url)
    source, target = moving_cluster.primaries[1:]
    steps, digest = door(store), digest_on(moving_cluster, source, store)
    steps.set(digest, b"there", 60)
    moving_cluster.move(store.make_key(digest), target, finish=done)
    if step == "get":
        assert steps.get(digest) == b"there"
    elif step == "get_many":
        assert steps.get_many([*MANY, digest]) == {digest: b"there"}
    elif step == "set":
        steps.set(digest, b"new", 60)
        assert steps.get(digest) == b"new"
    elif step == "replace":
        assert store.replace(digest, b"there", b"new", 60) is True
        assert steps.get(digest) == b"new"
    elif step == "touch":
        assert steps.touch(digest, None) is True
        with redis.Redis(port=target.port) as raw:
            raw.execute_command("ASKING")
            assert raw.pttl(store.make_key(digest)) == -1
    elif step == "delete":
        assert steps.delete(digest) is True
        assert steps.get(digest) is None
    else:
        moving_cluster.move(store.make_key(f"{digest}-claim"), target, finish=done)
        token = CLAIM + b"one"
        assert steps.claim(digest, token, 60) == token
        assert steps.claimed(digest) == token
        steps.end_claim(digest, token, None, 0)
        assert steps.claimed(digest) is None


def test_an_event_loop_that_ends_takes_its_connections_along(redis_cluster: Cluster) -> None:
    store = clustered(redis_cluster.url)

    async def use() -> None:
        await asyncio.gather(*(store.aset(digest, b"1", 60) for digest in MANY[:9]))

    with nothing_left_open():
        for _ in range(3):
            asyncio.run(use())
    assert len(store.connections._loops) == 0


def test_a_fork_in_the_middle_of_use_mixes_up_no_answers(redis_cluster: Cluster) -> None:
    store = clustered(redis_cluster.url)
    store.set_many([Item(digest, digest.encode(), 60) for digest in MANY])
    asyncio.run(store.aget(MANY[0]))
    child = os.fork()
    half = MANY[::2] if child == 0 else MANY[1::2]
    right = False
    try:
        if child == 0:
            signal.alarm(20)
        for _ in range(20):
            right = store.get_many(half) == {digest: digest.encode() for digest in half}
            right = right and store.get(half[0]) == half[0].encode()
            if not right:
                break
        right = right and asyncio.run(store.aget(half[1])) == half[1].encode()
    finally:
        if child == 0:
            os._exit(0 if right else 1)
    assert right
    assert os.waitpid(child, 0)[1] == 0


def test_a_cancelled_read_leaves_no_answer_behind_for_the_next(redis_cluster: Cluster) -> None:
    store = clustered(redis_cluster.url)
    node = redis_cluster.primaries[0]
    here = [d for d in islice(digests(), 40) if redis_cluster.owner(store.make_key(d)) is node]
    long, short = here[:2]

    async def use() -> None:
        await store.aset_many([Item(long, b"a" * 100_000, 60), Item(short, b"b", 60)])
        for number in range(200):
            task = asyncio.create_task(store.aget_many([long, *MANY]))
            for _ in range(number % 7):
                await asyncio.sleep(0)
            task.cancel()
            assert await store.aget(short) == b"b"

    asyncio.run(use())


def test_what_waits_for_a_batch_is_sent_to_all_nodes(redis_cluster: Cluster) -> None:
    inner = clustered(redis_cluster.url)
    store = BatchedBackend(inner, flush_size=len(MANY))
    for digest in MANY:
        store.set(digest, b"1", 60)
    assert all(counted_keys(redis_cluster, inner))
    assert store.get_many(MANY) == dict.fromkeys(MANY, b"1")
    store.close()


@pytest.fixture(scope="module")
def replicated_cluster() -> Iterator[Cluster]:
    """One whose first primary has a replica."""
    with own_cluster(replicas=1) as cluster:
        yield cluster


def read_from_replicas(cluster: Cluster) -> tuple[RedisBackend, str, str]:
    """A store, a digest on the shard that has a replica, and one elsewhere; both are stored."""
    store = clustered(cluster.url, read_from_replicas=True)
    first, second, _ = cluster.primaries
    digest, elsewhere = (digest_on(cluster, node, store) for node in (first, second))
    store.set_many([Item(digest, b"1", 60), Item(elsewhere, b"2", 60)])
    place = store.make_key(digest)
    replica = cluster.replicas[0]
    until(lambda: place.encode() in replica.ask("KEYS", place), "the replica did not follow")
    return store, digest, elsewhere


def test_reads_go_to_replicas_where_there_are_any(replicated_cluster: Cluster, door: Any) -> None:
    store, digest, elsewhere = read_from_replicas(replicated_cluster)
    steps = door(store)
    assert steps.get_many([digest, elsewhere]) == {digest: b"1", elsewhere: b"2"}
    with requests() as sent:
        assert steps.get(digest) == b"1"
        assert steps.get_many([digest, elsewhere]) == {digest: b"1", elsewhere: b"2"}
    assert sent == {replicated_cluster.replicas[0].port: 2, replicated_cluster.primaries[1].port: 1}


def test_a_replica_that_is_gone_costs_no_hit(frail_cluster: Cluster) -> None:
    store, digest, _ = read_from_replicas(frail_cluster)
    other, again, _ = read_from_replicas(frail_cluster)
    with asyncio.Runner() as runner:
        steps = Door(other, runner)
        assert (store.get(digest), steps.get(again)) == (b"1", b"1")
        frail_cluster.replicas[0].kill()
        assert (store.get(digest), steps.get(again)) == (b"1", b"1")
        with requests() as sent:
            assert (store.get(digest), steps.get(again)) == (b"1", b"1")
        assert frail_cluster.replicas[0].port not in sent


def test_a_password_is_used_for_all_nodes_and_never_shown() -> None:
    with own_cluster(password="s3cr3t-word") as cluster:
        store = clustered(cluster.url, password="s3cr3t-word")
        store.set_many([Item(digest, b"1", 60) for digest in MANY])
        assert asyncio.run(store.aget_many(MANY)) == dict.fromkeys(MANY, b"1")
        assert "s3cr3t" not in f"{store!r}{store.settings!r}{store.connections!r}"
        wrong = clustered(cluster.url, password="s3cr3t-wrong")
        with pytest.raises(redis.RedisError) as error:
            wrong.get(MANY[0])
        assert "s3cr3t" not in str(error.value)
        inside = ",".join(
            node.url.replace("redis://", "redis://:s3cr3t-word@") for node in cluster.primaries
        )
        assert clustered(inside).get_many(MANY) == {}


def test_what_must_be_known_at_once_is_asked_of_the_primary(
    replicated_cluster: Cluster, door: Any
) -> None:
    store, digest, _ = read_from_replicas(replicated_cluster)
    steps, first = door(store), replicated_cluster.primaries[0]
    owner = replicated_cluster.owner
    claimed = next(d for d in digests() if owner(store._claim_key(d)) is first)
    slot = next(f"{d}-w" for d in digests() if owner(store.make_key(f"{d}-w")) is first)
    token = CLAIM + b"one"
    replicated_cluster.replicas[0].send(signal.SIGSTOP)  # it hears of nothing now
    try:
        assert steps.claim(claimed, token, 60) == token
        assert steps.claimed(claimed) == token
        steps.post(slot, b"1", 60)
        assert steps.posted(slot) == b"1"
        steps.delete(digest)
        assert store.present([digest]) == {}
    finally:
        replicated_cluster.replicas[0].send(signal.SIGCONT)
