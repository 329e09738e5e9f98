"""Sites whose answers are in a Redis Cluster: how they name it, and what they do over it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import override_settings

import llmcache
from llmcache import backends, maintenance
from llmcache.caching import Cache
from llmcache.exceptions import InvalidRequest
from llmcache.outcome import CacheInfo
from llmcache.recorder import recorder
from tests.backends.cluster_stores import counted_keys
from tests.backends.stores import unique
from tests.servers.redis import RedisServer
from tests.servers.redis_cluster import Cluster
from tests.test_page import tell_a_joke_twice

REDIS = "llmcache.backends.redis.RedisBackend"


@pytest.mark.parametrize("by_environment", [False, True])
def test_redis_cluster(
    redis_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, by_environment: bool
) -> None:
    nodes = [{"host": "127.0.0.1", "port": str(node.port)} for node in redis_cluster.primaries[:2]]
    if by_environment:
        monkeypatch.setenv("REDIS_CLUSTER_NODES", json.dumps(nodes))
        llmcache.cache = Cache(type="redis")
    else:
        llmcache.cache = Cache(type="redis", redis_startup_nodes=nodes)
    tell_a_joke_twice()


@pytest.mark.parametrize(
    "arguments",
    [
        {"redis_startup_nodes": [{"host": "a"}]},
        {"redis_startup_nodes": "a:1"},
        {"redis_startup_nodes": [{"host": "a", "port": "b"}]},
        {"redis_startup_nodes": [{"host": "a", "port": 1}], "host": "b"},
    ],
)
def test_nodes_that_make_no_sense_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="redis_startup_nodes"):
        Cache(type="redis", **arguments)


def test_a_store_that_is_searched_by_meaning_may_lie_over_a_cluster(
    redis_cluster: Cluster, redis_server: RedisServer
) -> None:
    place = {"KEY_PREFIX": unique()}
    layers = {"layers": ["similar", "cluster"]}
    described = {
        "default": {"BACKEND": "llmcache.backends.layered.LayeredBackend", "OPTIONS": layers},
        "similar": {
            "BACKEND": "llmcache.backends.semantic.redis.RedisSemanticBackend",
            "LOCATION": redis_server.url,
            "OPTIONS": {
                "embedder": "tests.matching.words.WordEmbedder",
                "similarity_threshold": 0.7,
                "guards": [],
            },
            **place,
        },
        "cluster": {
            "BACKEND": REDIS,
            "LOCATION": redis_cluster.url,
            "OPTIONS": {"cluster": True},
            **place,
        },
    }
    with override_settings(LLMCACHE=described):

        def ask(text: str) -> CacheInfo:
            messages = [{"role": "user", "content": text}]
            found: CacheInfo = llmcache.completion("m", messages=messages).cache
            return found

        assert ask("the opening hours of the shop").outcome == "miss"
        similar = ask("opening hours of the shop")
        assert (similar.outcome, similar.layer) == ("hit", "similar")
        backends.stores["similar"].clear()
        again = ask("the opening hours of the shop")
        assert (again.outcome, again.layer) == ("hit", "cluster")
        assert backends.stores["default"].clear() >= 1


@pytest.mark.django_db
def test_evicting_by_a_tag_reaches_all_nodes(redis_cluster: Cluster) -> None:
    options = {"cluster": True}
    described = {"BACKEND": REDIS, "LOCATION": redis_cluster.url, "OPTIONS": options}
    with override_settings(LLMCACHE={"default": {**described, "KEY_PREFIX": unique()}}):

        def ask(text: str, **cache: Any) -> str:
            messages = [{"role": "user", "content": text}]
            outcome: str = llmcache.completion("m", messages=messages, cache=cache).cache.outcome
            recorder.flush()
            return outcome

        tagged = [f"question {number}" for number in range(30)]
        for text in tagged:
            assert ask(text, tags=["t"]) == "miss"
        assert ask("bystander", tags=["u"]) == "miss"
        store = backends.stores["default"]
        assert all(counted_keys(redis_cluster, store))
        assert maintenance.evict(tag="t").removed == len(tagged)
        assert sum(counted_keys(redis_cluster, store)) == 1
        assert ask("bystander", tags=["u"]) == "hit"
        assert store.clear() == 1
