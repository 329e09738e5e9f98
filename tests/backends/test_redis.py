"""What only stores in Redis must do: keys, ttl's, replicas, event loops. Real servers."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from hashlib import sha256
from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from llmcache.backends.django import DjangoCacheBackend
from llmcache.backends.redis import RedisBackend
from llmcache.conf import BackendSettings
from tests.backends.redis_stores import (
    CLASSES,
    A,
    B,
    direct,
    makers,
    nothing_left_open,
    through,
)
from tests.backends.stores import unique
from tests.servers.redis import RedisServer, own_server


@pytest.fixture(autouse=True)
def patient(settings: Any) -> None:
    """A machine under load may keep a healthy server waiting for more than our default."""
    settings.LLMCACHE_CONFIG = {"BACKEND_TIMEOUT": 5.0}


@pytest.fixture(params=sorted(makers()))
def make(request: pytest.FixtureRequest) -> Any:
    """Makes a store at a URL, of each kind."""
    return makers()[request.param]


def test_a_ttl_reaches_the_server_in_milliseconds_and_never_shorter(
    make: Any, redis_server: RedisServer
) -> None:
    store = make(redis_server.url)
    store.set(A, b"1", 1.5)
    raw = redis.Redis.from_url(redis_server.url)
    assert 1000 < raw.pttl(store.make_key(A)) <= 1500  # type: ignore[operator]
    store.touch(A, 0.7001)
    assert raw.pttl(store.make_key(A)) <= 701  # type: ignore[operator]
    store.touch(A, None)
    assert raw.pttl(store.make_key(A)) == -1
    assert raw.get(store.make_key(A)) == b"1"
    store.delete(A)
    raw.close()


@pytest.mark.parametrize("backend", CLASSES)
def test_prefix_version_and_key_function_of_caches_are_in_the_key(
    backend: str, redis_server: RedisServer
) -> None:
    prefix = unique()
    entry = {
        "BACKEND": backend,
        "LOCATION": redis_server.url,
        "KEY_PREFIX": prefix,
        "VERSION": 7,
    }
    with override_settings(CACHES={"default": entry}):
        store = DjangoCacheBackend(BackendSettings(alias="r"))
        store.set(A, b"1", 60)
        assert store.make_key(A) == f"{prefix}:7:llmcache::1:{A}"
        assert caches["default"].has_key(store.prefix + A)
        assert store.clear() == 1


_tenant = "one"


def tenant_key(key: str, prefix: str, version: int) -> str:
    return f"{_tenant}|{prefix}|{key}|{version}"


def hiding_key(key: str, prefix: str, version: int) -> str:
    return sha256(f"{prefix}{key}{version}".encode()).hexdigest()


@pytest.mark.parametrize("backend", CLASSES)
def test_a_key_function_is_asked_at_each_call_so_tenants_stay_apart(
    backend: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = through(
        backend, redis_server.url, KEY_PREFIX=unique(), KEY_FUNCTION=f"{__name__}.tenant_key"
    )
    with override_settings(
        CACHES={
            "default": {
                "BACKEND": backend,
                "LOCATION": redis_server.url,
                "KEY_FUNCTION": f"{__name__}.tenant_key",
            }
        }
    ):
        store.set(A, b"one", 60)
        monkeypatch.setattr(f"{__name__}._tenant", "two")
        assert store.get(A) is None
        store.set(A, b"two", 60)
        assert list(store.iterate()) == [A]
        assert store.clear() == 1
        monkeypatch.setattr(f"{__name__}._tenant", "one")
        assert store.get(A) == b"one"
        assert store.clear() == 1


@pytest.mark.parametrize("backend", CLASSES)
def test_a_key_function_that_hides_keys_rules_out_clear_and_iterate(
    backend: str, redis_server: RedisServer
) -> None:
    entry = {
        "BACKEND": backend,
        "LOCATION": redis_server.url,
        "KEY_FUNCTION": f"{__name__}.hiding_key",
    }
    with override_settings(CACHES={"default": entry}):
        store = DjangoCacheBackend(BackendSettings(alias="r", key_prefix=unique()))
        assert (store.supports_clear, store.supports_iterate) == (False, False)
        store.set(A, b"1", 60)
        assert store.get(A) == b"1"
        with pytest.raises(Exception, match="KEY_FUNCTION"):
            store.clear()
        assert store.delete(A) is True


@pytest.mark.parametrize("backend", ["direct", *CLASSES])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_writes_go_to_the_first_server_and_reads_to_the_others(
    backend: str, asynchronous: bool, redis_server: RedisServer, own_redis: RedisServer
) -> None:
    urls = [redis_server.url, own_redis.url]
    store = direct(",".join(urls)) if backend == "direct" else through(backend, urls)
    replica = redis.Redis.from_url(own_redis.url)
    replica.set(store.make_key(B), b"on the replica")

    async def use() -> list[Any]:
        await store.aset(A, b"1", 60)
        return [await store.aget(A), await store.aget(B), await store.aget_many([A, B])]

    if asynchronous:
        found = asyncio.run(use())
    else:
        store.set(A, b"1", 60)
        found = [store.get(A), store.get(B), store.get_many([A, B])]
    assert found == [None, b"on the replica", {B: b"on the replica"}]
    assert redis.Redis.from_url(redis_server.url).get(store.make_key(A)) == b"1"
    assert store.delete(A) is True
    replica.close()


def test_an_event_loop_that_ends_takes_its_connections_along(own_redis: RedisServer) -> None:
    store = direct(own_redis.url)

    async def use() -> None:
        await asyncio.gather(*(store.aset(A, b"1", 60) for _ in range(5)))

    with nothing_left_open():
        for _ in range(10):
            asyncio.run(use())
    raw = redis.Redis.from_url(own_redis.url)
    end = time.monotonic() + 5
    while len(raw.client_list()) > 1 and time.monotonic() < end:
        time.sleep(0.02)
    assert len(raw.client_list()) == 1
    assert len(store.connections._loops) == 0
    raw.close()


def test_a_cancelled_read_leaves_no_answer_behind_for_the_next(redis_server: RedisServer) -> None:
    store = direct(redis_server.url)

    async def use() -> None:
        await store.aset(A, b"a" * 100_000, 60)
        await store.aset(B, b"b", 60)
        for number in range(200):
            task = asyncio.create_task(store.aget(A))
            for _ in range(number % 7):
                await asyncio.sleep(0)
            task.cancel()
            assert await store.aget(B) == b"b"

    asyncio.run(use())


def test_options_describe_the_server(redis_server: RedisServer) -> None:
    if not redis_server.port:
        pytest.skip("the server given by URL may need more than a host and a port")
    options = {"host": "127.0.0.1", "port": str(redis_server.port), "db": 1}
    store = RedisBackend(BackendSettings(alias="r", key_prefix=unique(), options=options))
    store.set(A, b"1", 60)
    with redis.Redis(port=redis_server.port, db=1) as raw:
        assert raw.get(store.make_key(A)) == b"1"
    assert store.clear() == 1


def test_a_password_is_used_and_never_shown() -> None:
    with own_server("--requirepass", "s3cr3t-word") as server:
        right = direct(server.url, options={"password": "s3cr3t-word"})
        right.set(A, b"1", 60)
        assert asyncio.run(right.aget(A)) == b"1"
        assert "s3cr3t" not in f"{right!r}{right.settings!r}{right.connections!r}"
        wrong = direct(server.url, options={"password": "s3cr3t-wrong"})
        with pytest.raises(redis.RedisError) as error:
            wrong.get(A)
        assert "s3cr3t" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"CLIENT_CLASS": "django_redis.client.ShardClient"}, "CLIENT_CLASS"),
        ({"CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory"}, "FACTORY"),
    ],
)
def test_what_django_redis_can_and_we_cannot_is_said(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        through(CLASSES[1], "redis://127.0.0.1:1", OPTIONS=options)


def test_both_a_location_and_a_host_is_a_contradiction() -> None:
    with pytest.raises(ImproperlyConfigured, match="both a LOCATION"):
        direct("redis://127.0.0.1:1", options={"host": "elsewhere"})


@pytest.mark.parametrize("prefix", ["t[1]", "t?", "t\\\\", "t^", "t-ü", "t*"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_signs_that_are_patterns_to_redis_are_plain_signs_in_a_prefix(
    prefix: str, asynchronous: bool, redis_server: RedisServer
) -> None:
    place = unique()
    odd, plain = (
        RedisBackend(BackendSettings(alias="r", location=redis_server.url, key_prefix=place + each))
        for each in (prefix, "t1")
    )
    odd.set(A, b"odd", 60)
    plain.set(A, b"plain", 60)
    assert list(odd.iterate()) == [A]
    assert (asyncio.run(odd.aclear()) if asynchronous else odd.clear()) == 1
    assert plain.get(A) == b"plain"
    assert plain.clear() == 1


def test_a_fork_in_the_middle_of_use_mixes_up_no_answers(redis_server: RedisServer) -> None:
    store = direct(redis_server.url)
    store.set(A, b"a", 60)
    store.set(B, b"b", 60)
    child = os.fork()
    name, data = (B, b"b") if child == 0 else (A, b"a")
    right = False
    try:
        if child == 0:
            signal.alarm(20)
        right = all(store.get(name) == data for _ in range(300))
    finally:
        if child == 0:
            os._exit(0 if right else 1)
    assert right
    assert os.waitpid(child, 0)[1] == 0
