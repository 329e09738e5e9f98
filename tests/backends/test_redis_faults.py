"""Stores in Redis whose server hangs, refuses or returns: a call costs at most its time limit."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import pytest
import redis

from llmcache.backends.redis_commands import RedisCommands
from tests.backends.redis_stores import CLASSES, A, B, direct, makers, through
from tests.servers.ports import free_port
from tests.servers.redis import RedisServer, own_server

TIMEOUT = 0.25
BOUND = 1.0  # far under the seconds that a hidden retry or a missing time limit would cost


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


@pytest.mark.parametrize("kind", sorted(makers()))
def test_a_hanging_server_costs_one_time_limit_a_call(kind: str, own_redis: RedisServer) -> None:
    store = makers()[kind](own_redis.url)
    store.set(A, b"1", 60)
    assert own_redis.process is not None
    own_redis.process.send_signal(signal.SIGSTOP)
    try:
        for name, call in calls(store):
            started = time.monotonic()
            with pytest.raises((redis.RedisError, TimeoutError)):
                call()
            assert time.monotonic() - started < BOUND, name
    finally:
        own_redis.process.send_signal(signal.SIGCONT)
    assert store.get(A) in (b"1", None)  # what hung may have run since
    store.set(B, b"2", 60)
    assert store.get(B) == b"2"
    assert asyncio.run(store.aget(B)) == b"2"
    store.close()


def test_many_tasks_that_meet_a_hanging_server_all_give_up_together(own_redis: RedisServer) -> None:
    store = direct(own_redis.url)
    assert own_redis.process is not None

    async def crowd() -> float:
        await store.aset(A, b"1", 60)
        own_redis.process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
        started = time.monotonic()
        try:
            results = await asyncio.gather(
                *(store.aget(A) for _ in range(50)), return_exceptions=True
            )
        finally:
            own_redis.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
        assert all(isinstance(result, Exception) for result in results)
        return time.monotonic() - started

    assert asyncio.run(crowd()) < BOUND


@pytest.mark.parametrize("kind", sorted(makers()))
def test_a_server_that_refuses_is_an_error_at_once(kind: str) -> None:
    store = makers()[kind](f"redis://127.0.0.1:{free_port()}")
    for name, call in calls(store):
        started = time.monotonic()
        with pytest.raises((redis.RedisError, OSError)):
            call()
        assert time.monotonic() - started < BOUND, name


@pytest.mark.parametrize("kind", sorted(makers()))
def test_a_server_that_comes_back_is_used_again(kind: str) -> None:
    with own_server() as first:
        store = makers()[kind](first.url)
        store.set(A, b"1", 60)
    with pytest.raises(redis.RedisError):
        store.get(A)
    with own_server(port=first.port):
        assert store.get(A) is None
        store.set(A, b"2", 60)
        assert asyncio.run(store.aget(A)) == b"2"
    store.close()


def test_the_time_limits_of_caches_win_over_ours(own_redis: RedisServer) -> None:
    store = through(CLASSES[1], own_redis.url, OPTIONS={"SOCKET_TIMEOUT": 0.05})
    assert store.connections.bound == 0.05
    store = through(CLASSES[0], own_redis.url, OPTIONS={"socket_timeout": 0.07})
    assert store.connections.bound == 0.07
    assert through(CLASSES[0], own_redis.url).connections.bound == TIMEOUT
