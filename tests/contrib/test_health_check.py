"""The check of django-health-check, through its own view, over real stores."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.test import AsyncRequestFactory, Client, override_settings
from django.urls import path
from django.utils import timezone
from health_check.views import HealthCheckView

import llmcache
from llmcache import stats
from llmcache.backends.memory import MemoryBackend
from llmcache.breaker import Breaker
from llmcache.caching import for_alias
from llmcache.contrib.health_check import LLMCacheHealthCheck
from llmcache.exceptions import Resting
from llmcache.recorder import recorder
from tests.contrib.views import question
from tests.servers.redis import RedisServer, plain_server

pytestmark = pytest.mark.django_db

NAME = "llmcache.contrib.health_check.LLMCacheHealthCheck"
REDIS = "llmcache.backends.redis.RedisBackend"
SECRET = "s3cr3t"

urlpatterns = [
    path("health/", HealthCheckView.as_view(checks=[NAME])),
    path("both/", HealthCheckView.as_view(checks=[NAME, (NAME, {"alias": "near"})])),
    path("gone/", HealthCheckView.as_view(checks=[(NAME, {"alias": "gone"})])),
    path("alone/", HealthCheckView.as_view(checks=[(NAME, {"records": False})])),
]


@pytest.fixture(autouse=True)
def site() -> Any:
    with override_settings(ROOT_URLCONF=__name__):
        yield


def answer(where: str) -> tuple[int, dict[str, str]]:
    response = Client().get(where, {"format": "json"})
    found: dict[str, str] = json.loads(response.content)
    return response.status_code, found


def stores_at(location: str, cooldown: float = 60) -> override_settings:
    return override_settings(
        LLMCACHE={"default": {"BACKEND": REDIS, "LOCATION": location}},
        LLMCACHE_CONFIG={"BREAKER_THRESHOLD": 1, "BREAKER_COOLDOWN": cooldown},
    )


def rest(alias: str) -> Breaker:
    """Calls leave the store of an alias alone from now on."""
    cache = for_alias(alias)
    assert cache is not None
    cache.breaker.failed()
    assert cache.breaker.is_open
    return cache.breaker


def test_a_store_that_works_is_healthy() -> None:
    assert answer("/health/") == (200, {"LLMCacheHealthCheck(alias='default')": "OK"})


def test_each_alias_is_a_check_of_its_own(tmp_path: Path) -> None:
    near = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(tmp_path)}
    with override_settings(LLMCACHE={"default": {}, "near": near}):
        status, found = answer("/both/")
    assert status == 200
    assert found == {
        "LLMCacheHealthCheck(alias='default')": "OK",
        "LLMCacheHealthCheck(alias='near')": "OK",
    }


async def test_the_view_works_under_asgi() -> None:
    view = HealthCheckView.as_view(checks=[NAME])
    response = await view(AsyncRequestFactory().get("/", {"format": "text"}))
    assert response.status_code == 200 and b"OK" in response.content


def test_the_probe_writes_reads_and_deletes_in_the_real_store(redis_server: RedisServer) -> None:
    import redis

    with (
        stores_at(redis_server.url + "/3"),
        redis.Redis.from_url(redis_server.url + "/3") as client,
    ):
        client.flushdb()
        client.config_resetstat()
        assert answer("/health/")[0] == 200
        used = client.info("commandstats")
        assert {"cmdstat_get", "cmdstat_set"} <= used.keys()
        assert client.dbsize() == 0


def test_the_time_of_each_step_is_known_after_a_run() -> None:
    check = LLMCacheHealthCheck()
    check.run()
    assert check.times["default"].keys() == {"write", "read", "drop"}
    assert all(seconds > 0 for seconds in check.times["default"].values())
    assert check.pretty_status().startswith("OK; default: written in ")
    assert check.labels == {"check": "LLMCacheHealthCheck", "alias": "default"}


def test_a_store_that_is_down_is_named_with_the_cause_and_without_its_password() -> None:
    with plain_server("--requirepass", SECRET) as server:
        address = server.url.replace("redis://", f"redis://:{SECRET}@")
        with stores_at(address):
            assert answer("/health/")[0] == 200
            assert server.process is not None
            server.process.kill()
            server.process.wait()
            status, found = answer("/health/")
    assert status == 500
    (text,) = found.values()
    assert "'default'" in text and "ConnectionError, ConnectionRefusedError" in text
    assert SECRET not in json.dumps(found)


class HalfResting(MemoryBackend):
    """A part of it is left alone just now."""

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        raise Resting("10.0.0.1:6379 failed too often")


def test_a_store_a_part_of_which_rests_is_not_healthy() -> None:
    with override_settings(LLMCACHE={"default": {"BACKEND": f"{__name__}.HalfResting"}}):
        status, found = answer("/health/")
    assert status == 500
    (text,) = found.values()
    assert "A part of the store 'default' rests" in text


def test_a_refused_password_is_named_without_it() -> None:
    with plain_server("--requirepass", "another") as server:
        address = server.url.replace("redis://", f"redis://:{SECRET}@")
        with stores_at(address):
            status, found = answer("/health/")
    (text,) = found.values()
    assert status == 500 and "'default'" in text and "Authentication" in text
    assert SECRET not in text


def test_an_alias_that_does_not_exist_is_named_with_those_that_do() -> None:
    status, found = answer("/gone/")
    (text,) = found.values()
    assert status == 500 and "'gone'" in text and "default" in text


def test_a_store_that_cannot_be_opened_is_named() -> None:
    with override_settings(LLMCACHE={"default": {"BACKEND": "llmcache.nowhere.Nothing"}}):
        status, found = answer("/health/")
    (text,) = found.values()
    assert status == 500 and "'default'" in text and "manage.py check" in text


def test_a_store_that_does_not_keep_what_it_is_given_fails() -> None:
    nothing = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    with override_settings(CACHES=nothing):
        status, found = answer("/health/")
    (text,) = found.values()
    assert status == 500 and "has not kept" in text and "'default'" in text


def test_a_layer_that_is_down_is_a_failure_though_the_layers_serve() -> None:
    settings = {
        "default": {
            "BACKEND": "llmcache.backends.layered.LayeredBackend",
            "OPTIONS": {"layers": ["memory", "far"]},
        },
        "memory": {"BACKEND": "llmcache.backends.memory.MemoryBackend"},
        "far": {"BACKEND": REDIS, "LOCATION": "redis://127.0.0.1:1/0"},
    }
    with override_settings(LLMCACHE=settings):
        assert llmcache.completion(**question("why")).cache.outcome == "miss"
        assert llmcache.completion(**question("why")).cache.outcome == "hit"
        status, found = answer("/health/")
    (text,) = found.values()
    assert status == 500 and "'far'" in text and "a layer of 'default'" in text


def test_a_store_that_calls_leave_alone_fails(redis_server: RedisServer) -> None:
    with stores_at(redis_server.url + "/3", cooldown=60):
        rest("default")
        status, found = answer("/health/")
    (text,) = found.values()
    assert status == 500 and "'default'" in text and "leave it alone" in text


def test_a_store_that_has_rested_is_used_again_once_it_answers(redis_server: RedisServer) -> None:
    with stores_at(redis_server.url + "/3", cooldown=0.01):
        breaker = rest("default")
        time.sleep(0.02)
        assert answer("/health/")[0] == 200
        assert not breaker.is_open


def test_records_that_get_lost_are_a_failure_until_the_rest_is_written() -> None:
    with override_settings(LLMCACHE_CONFIG={"BUFFER_SIZE": 2}):
        for number in range(5):
            llmcache.completion(**question(f"text {number}"))
        status, found = answer("/health/")
        assert status == 500 and "records of calls were dropped" in next(iter(found.values()))
        assert answer("/alone/")[0] == 200
        recorder.flush()
        assert answer("/health/")[0] == 200


def test_dropped_records_are_counted_for_good() -> None:
    with override_settings(LLMCACHE_CONFIG={"BUFFER_SIZE": 2}):
        for number in range(5):
            llmcache.completion(**question(f"text {number}"))
        assert recorder.dropped == recorder.dropped_ever == 6  # of calls and of entries
        recorder.flush()
        assert (recorder.dropped, recorder.dropped_ever) == (0, 6)
        for number in range(3):
            llmcache.completion(**question(f"text {number}"))
        assert (recorder.dropped, recorder.dropped_ever) == (1, 7)
    assert recorder.flush() and stats.summary(stats.selected(timezone.now())).lost == 7


@pytest.mark.django_db(transaction=True)
def test_a_thread_of_a_pool_keeps_no_connection_to_the_database() -> None:
    from concurrent.futures import ThreadPoolExecutor

    from django.core.management import call_command

    table = {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache_table"}

    def run() -> bool:
        check = LLMCacheHealthCheck()
        check.run()
        return bool(check.times) and connections["default"].connection is None

    with override_settings(CACHES={"default": table}):
        call_command("createcachetable", verbosity=0)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(run).result()
