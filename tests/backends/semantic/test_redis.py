"""What only the semantic store in Redis does: its index, its keys, servers that cannot search."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import redis
from django.core.exceptions import ImproperlyConfigured

from llmcache.backends.redis import RedisBackend
from llmcache.backends.semantic import redis_index
from llmcache.backends.semantic.redis import RedisSemanticBackend
from llmcache.conf import BackendSettings
from llmcache.exceptions import UnsupportedOperation
from tests.backends.semantic.conftest import cloud, digest, drop, fill, prompts, unit, vector
from tests.backends.stores import unique
from tests.servers.redis import RedisServer, own_server, plain_server

X, Y, Z = unit(1, 0, 0, 0), unit(0, 1, 0, 0), unit(0, 0, 1, 0)


@pytest.fixture(autouse=True)
def patient(settings: Any) -> None:
    settings.LLMCACHE_CONFIG = {"BACKEND_TIMEOUT": 10.0}


@pytest.fixture
def place() -> str:
    return unique()


def semantic(url: str, place: str, **options: Any) -> Any:
    return RedisSemanticBackend(
        BackendSettings(alias="r", location=url, key_prefix=place, options=options)
    )


@pytest.fixture
def raw(redis_server: RedisServer) -> Iterator[Any]:
    """Another program's connection."""
    with redis.Redis.from_url(redis_server.url, protocol=2) as client:
        yield client


@pytest.fixture
def store(redis_server: RedisServer, place: str) -> Iterator[Any]:
    store = semantic(redis_server.url, place)
    yield store
    drop(store)
    store.close()


def own_keys(raw: Any, place: str) -> list[bytes]:
    return sorted(raw.scan_iter(f"*{place}*"))


def hash_key(store: Any, name: object) -> str:
    return str(store._layout.head + digest(name))


# --- keys and ttl's ---


def test_a_vector_expires_with_its_entry_and_touch_moves_both(store: Any, raw: Any) -> None:
    store.set(digest("x"), b"1", 60)
    store.add([vector("x", X, expires=time.time() + 60)])
    key = hash_key(store, "x")
    assert 58_000 < raw.pttl(key) <= 60_001
    assert store.touch(digest("x"), 500)
    assert 498_000 < raw.pttl(key) <= 500_000
    assert store.touch(digest("x"), None)
    assert raw.pttl(key) == -1
    assert store.touch(digest("x"), 0.05)
    time.sleep(0.1)
    assert raw.exists(key) == 0


def test_delete_delete_many_and_clear_leave_no_key(store: Any, raw: Any, place: str) -> None:
    fill(store, range(30), cloud(30))
    store.delete(digest(0))
    store.delete_many([digest(number) for number in range(1, 20)])
    assert len(own_keys(raw, place)) == 2 * 10
    asyncio.run(store.adelete(digest(20)))
    asyncio.run(store.adelete_many([digest(21)]))
    assert len(own_keys(raw, place)) == 2 * 8
    assert asyncio.run(store.aclear()) == 8
    assert own_keys(raw, place) == []
    fill(store, range(3), cloud(3))
    raw.delete(store.make_key(digest(2)))
    assert store.clear() == 2
    assert own_keys(raw, place) == []


def test_a_vector_that_lost_its_entry_is_removed_when_a_search_meets_it(
    store: Any, raw: Any, place: str
) -> None:
    fill(store, range(10), cloud(10))
    raw.delete(store.make_key(digest(3)))
    assert str(3) not in prompts(store, cloud(10)[3], 10)
    assert raw.exists(hash_key(store, 3)) == 0
    assert store.vector_count() == 9


def test_a_search_takes_one_exchange(store: Any, raw: Any) -> None:
    fill(store, "xyz", np.stack([X, Y, Z]))
    prompts(store, X)
    before = raw.info("commandstats")
    prompts(store, X)
    after = raw.info("commandstats")
    sent = {
        name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"]
        for name in after
        if name != "cmdstat_info"
    }
    # The other two are called by the script, on the server.
    assert {name for name, calls in sent.items() if calls} == {
        *("cmdstat_eval", "cmdstat_exists", "cmdstat_FT.SEARCH")
    }
    assert sent["cmdstat_eval"] == 1


# --- the index ---


@pytest.mark.parametrize("algorithm", ["flat", "hnsw"])
def test_the_algorithm_is_the_one_asked_for_and_a_changed_one_keeps_the_vectors(
    redis_server: RedisServer, raw: Any, place: str, algorithm: str
) -> None:
    other = {"flat": "hnsw", "hnsw": "flat"}[algorithm]
    first = semantic(redis_server.url, place, algorithm=other)
    fill(first, range(200), cloud(200))
    second = semantic(redis_server.url, place, algorithm=algorithm)
    fill(second, [200], cloud(1, seed=9))
    name = second._layout.index(16)
    end = time.monotonic() + 10
    while second.vector_count() < 201 and time.monotonic() < end:
        time.sleep(0.05)
    described = str(raw.execute_command("FT.INFO", name))
    assert f"'{algorithm.upper()}'" in described.replace("b'", "'")
    for number in (0, 77, 199):
        assert prompts(second, cloud(200)[number], 1) == [str(number)]
        assert prompts(first, cloud(200)[number], 1) == [str(number)]
    drop(first)
    first.close()
    second.close()


@pytest.mark.parametrize("share", [1, 40])
def test_a_graph_finds_big_and_small_partitions_among_others(
    redis_server: RedisServer, place: str, share: int
) -> None:
    store = semantic(redis_server.url, place, algorithm="hnsw")
    vectors = cloud(3000)
    for n in range(share):
        fill(store, range(n, 3000, share), vectors[n::share], partition=str(n))
    own = vectors[::share]
    questions = cloud(250, seed=3)
    found = [prompts(store, question, 1, partition="0") for question in questions]
    wanted = [[str(number * share)] for number in (questions @ own.T).argmax(axis=1)]
    assert sum(map(list.__eq__, found, wanted)) >= 0.98 * len(questions)
    drop(store)
    store.close()


def test_an_index_that_is_lost_is_made_again_over_what_is_there(store: Any, raw: Any) -> None:
    fill(store, range(50), cloud(50))
    raw.execute_command("FT.DROPINDEX", store._layout.index(16))
    end = time.monotonic() + 10
    while prompts(store, cloud(50)[7], 1) != ["7"] and time.monotonic() < end:
        time.sleep(0.05)
    assert prompts(store, cloud(50)[7], 1) == ["7"]


def test_a_restarted_process_finds_the_index_and_the_vectors(
    store: Any, redis_server: RedisServer, place: str
) -> None:
    fill(store, range(50), cloud(50))
    again = semantic(redis_server.url, place)
    assert prompts(again, cloud(50)[7], 1) == ["7"]
    assert asyncio.run(again.anearest("p", "s", cloud(50)[8].tobytes(), 1))[0].prompt == "8"
    again.close()


def test_making_an_index_that_is_there_changes_nothing(store: Any, raw: Any) -> None:
    fill(store, "x", X[None])
    for _ in range(3):
        redis_index.make(store.connections.primary, store._layout, 4, "flat", "r")
    assert prompts(store, X) == ["x"]
    with pytest.raises(redis.ResponseError):
        raw.execute_command("FT.INFO", store._layout.index(5))


# --- what others write ---


def test_vectors_that_are_damaged_or_foreign_are_ignored(store: Any, raw: Any) -> None:
    fill(store, "xyz", np.stack([X, Y, Z]))
    fill(store, ["short", "nan", "promptless", "binary"], np.stack([X] * 4))
    raw.hset(hash_key(store, "short"), "vector_4", b"123")
    raw.hset(hash_key(store, "nan"), "vector_4", np.full(4, np.nan, "f4").tobytes())
    raw.hdel(hash_key(store, "promptless"), "prompt")
    raw.hset(hash_key(store, "binary"), "prompt", b"\xff\xfe")
    foreign = store._layout.head + "not-a-digest"
    tag = raw.hget(hash_key(store, "x"), "place")
    raw.hset(foreign, mapping={"place": tag, "prompt": "no", "vector_4": X.tobytes()})
    raw.set(store.prefix + "not-a-digest", b"1")
    assert prompts(store, unit(0.9, 0.4, 0.1, 0), 50) == ["x", "y", "z"]
    assert prompts(store, X, 1) == ["x"]
    raw.delete(foreign, store.prefix + "not-a-digest")


# --- servers and users that lack something ---


def test_a_server_without_search_says_what_to_install_and_still_keeps_entries() -> None:
    with plain_server() as server:
        store = semantic(server.url, "p")
        store.set(digest("x"), b"1", 60)
        for ask in (
            lambda: store.add([vector("x", X)]),
            lambda: store.nearest("p", "s", X.tobytes()),
            lambda: asyncio.run(store.anearest("p", "s", X.tobytes())),
            lambda: asyncio.run(store.aadd([vector("x", X)])),
            store.vector_count,
        ):
            with pytest.raises(UnsupportedOperation, match=r"\['r'\].*Redis 8 or Redis Stack"):
                ask()
        assert store.get(digest("x")) == b"1"
        assert store.touch(digest("x"), 60) is True
        assert list(store.iterate()) == [digest("x")]
        assert store.delete(digest("x")) is True
        assert store.clear() == 0
        store.close()


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_user_who_may_run_no_scripts_gets_the_same_answers(place: str, protocol: int) -> None:
    with own_server() as server:
        admin = redis.Redis.from_url(server.url)
        admin.execute_command("ACL SETUSER", "plain", "on", ">secret", "~*", "+@all", "-@scripting")
        url = server.url.replace("//", "//plain:secret@") + f"?protocol={protocol}"
        store, other = semantic(url, place), semantic(server.url, place)
        fill(store, range(100), cloud(100))
        for number in range(50, 60):
            admin.delete(store.make_key(digest(number)))
        for number in range(0, 100, 7):
            data = cloud(100)[number].tobytes()
            found = store.nearest("p", "s", data, 5)
            assert list(asyncio.run(store.anearest("p", "s", data, 5))) == list(found)
            assert list(other.nearest("p", "s", data, 5)) == list(found)
        assert prompts(store, cloud(1)[0], partition="another") == []
        for one in (store, other, admin):
            one.close()


def test_replies_of_the_newer_protocol_are_understood(
    redis_server: RedisServer, place: str
) -> None:
    store = semantic(f"{redis_server.url}?protocol=3", place)
    fill(store, "xyz", np.stack([X, Y, Z]))
    assert prompts(store, X, 1) == ["x"]
    assert store.vector_count() == 3
    assert asyncio.run(store.anearest("p", "s", Y.tobytes(), 1))[0].prompt == "y"
    drop(store)
    store.close()


# --- settings ---


@pytest.mark.parametrize(
    ("url", "options", "says"),
    [
        ("", {"algorithm": "ivf"}, r"\['algorithm'\] must be one of flat, hnsw, not 'ivf'"),
        ("", {"algoritm": "flat"}, "Did you mean 'algorithm'"),
        ("/3", {}, "database 0 only"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_remedy(
    url: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        semantic(f"redis://localhost{url}", "p", **options)


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "redisvl", None)
    with pytest.raises(ImproperlyConfigured, match=r'pip install "django-llmcache\[semantic\]"'):
        semantic("redis://localhost", "p")


def test_the_module_loads_no_package_for_search_until_it_is_needed() -> None:
    script = (
        "import sys; import llmcache.backends.semantic.redis;"
        "assert not {'redis', 'redisvl', 'numpy'} & set(sys.modules)"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


def test_an_entry_of_the_exact_store_is_this_stores_too(
    store: Any, redis_server: RedisServer, place: str
) -> None:
    exact = RedisBackend(BackendSettings(alias="r", location=redis_server.url, key_prefix=place))
    exact.set(digest("x"), b"1", 60)
    assert store.get(digest("x")) == b"1"
    store.add([vector("x", X)])
    assert prompts(store, X) == ["x"]
    assert exact.delete(digest("x"))
    assert prompts(store, X) == []
    exact.close()
