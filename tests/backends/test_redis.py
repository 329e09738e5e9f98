"""What only stores in Redis must do: time limits, keys, replicas, event loops. Real servers."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from llmcache.backends.django import DjangoCacheBackend
from llmcache.backends.redis import RedisBackend
from llmcache.backends.redis_commands import RedisCommands
from llmcache.conf import BackendSettings
from tests.backends.stores import unique
from tests.servers.ports import free_port
from tests.servers.redis import RedisServer, own_server

A, B = (sha256(name).hexdigest() for name in (b"a", b"b"))
TIMEOUT = 0.25
BOUND = 1.0  # far under the seconds that a hidden retry or a missing time limit would cost
CLASSES = ("django.core.cache.backends.redis.RedisCache", "django_redis.cache.RedisCache")


def direct(url: str, **changes: Any) -> RedisBackend:
    return RedisBackend(BackendSettings(alias="r", location=url, key_prefix=unique(), **changes))


def through(backend: str, location: Any, **description: Any) -> RedisCommands:
    """A store over an entry of CACHES, which holds while the store is made."""
    entry = {"BACKEND": backend, "LOCATION": location, **description}
    with override_settings(CACHES={"default": entry}):
        store = DjangoCacheBackend(BackendSettings(alias="r", key_prefix=unique()))
        assert isinstance(store, RedisCommands)
        return store


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server that the test may hang or stop."""
    with own_server() as server:
        yield server


@pytest.fixture(params=["direct", *CLASSES])
def make(request: pytest.FixtureRequest) -> Any:
    """Makes a store at a URL: by itself, or over either kind of CACHES alias."""
    if request.param == "direct":
        return direct
    return lambda url: through(request.param, url)


def calls(store: RedisCommands) -> list[tuple[str, Any]]:
    """Each operation once, sync and async, all of which should fail."""
    run = asyncio.run
    return [
        ("get", lambda: store.get(A)),
        ("get_many", lambda: store.get_many([A, B])),
        ("set", lambda: store.set(A, b"1", 60)),
        ("delete", lambda: store.delete(A)),
        ("touch", lambda: store.touch(A, None)),
        ("clear", lambda: store.clear()),
        ("aget", lambda: run(store.aget(A))),
        ("aset", lambda: run(store.aset(A, b"1", 60))),
        ("adelete", lambda: run(store.adelete(A))),
        ("atouch", lambda: run(store.atouch(A, None))),
        ("aclear", lambda: run(store.aclear())),
    ]


def test_a_hanging_server_costs_one_time_limit_a_call(make: Any, own: RedisServer) -> None:
    store = make(own.url)
    store.set(A, b"1", 60)
    assert own.process is not None
    own.process.send_signal(signal.SIGSTOP)
    try:
        for name, call in calls(store):
            started = time.monotonic()
            with pytest.raises((redis.RedisError, TimeoutError)):
                call()
            assert time.monotonic() - started < BOUND, name
    finally:
        own.process.send_signal(signal.SIGCONT)
    assert store.get(A) in (b"1", None)  # what hung may have run since
    store.set(B, b"2", 60)
    assert store.get(B) == b"2"
    assert asyncio.run(store.aget(B)) == b"2"
    store.close()


def test_many_tasks_that_meet_a_hanging_server_all_give_up_together(own: RedisServer) -> None:
    store = direct(own.url)
    assert own.process is not None

    async def crowd() -> float:
        await store.aset(A, b"1", 60)
        own.process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
        started = time.monotonic()
        try:
            results = await asyncio.gather(
                *(store.aget(A) for _ in range(50)), return_exceptions=True
            )
        finally:
            own.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
        assert all(isinstance(result, Exception) for result in results)
        return time.monotonic() - started

    assert asyncio.run(crowd()) < BOUND


def test_a_server_that_refuses_is_an_error_at_once(make: Any) -> None:
    store = make(f"redis://127.0.0.1:{free_port()}")
    for name, call in calls(store):
        started = time.monotonic()
        with pytest.raises((redis.RedisError, OSError)):
            call()
        assert time.monotonic() - started < BOUND, name


def test_a_server_that_comes_back_is_used_again(make: Any) -> None:
    with own_server() as first:
        store = make(first.url)
        store.set(A, b"1", 60)
    with pytest.raises(redis.RedisError):
        store.get(A)
    with own_server(port=first.port):
        assert store.get(A) is None
        store.set(A, b"2", 60)
        assert asyncio.run(store.aget(A)) == b"2"
    store.close()


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
    backend: str, asynchronous: bool, redis_server: RedisServer, own: RedisServer
) -> None:
    urls = [redis_server.url, own.url]
    store = direct(",".join(urls)) if backend == "direct" else through(backend, urls)
    replica = redis.Redis.from_url(own.url)
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


def test_an_event_loop_that_ends_takes_its_connections_along(own: RedisServer) -> None:
    store = direct(own.url)

    async def use() -> None:
        await asyncio.gather(*(store.aset(A, b"1", 60) for _ in range(5)))

    for _ in range(10):
        asyncio.run(use())
    raw = redis.Redis.from_url(own.url)
    end = time.monotonic() + 5
    while len(raw.client_list()) > 1 and time.monotonic() < end:
        time.sleep(0.02)
    assert len(raw.client_list()) == 1
    assert store.connections._loops == {}
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


def test_the_time_limits_of_caches_win_over_ours(own: RedisServer) -> None:
    store = through(CLASSES[1], own.url, OPTIONS={"SOCKET_TIMEOUT": 0.05})
    assert store.connections.bound == 0.05
    store = through(CLASSES[0], own.url, OPTIONS={"socket_timeout": 0.07})
    assert store.connections.bound == 0.07
    assert through(CLASSES[0], own.url).connections.bound == TIMEOUT


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
