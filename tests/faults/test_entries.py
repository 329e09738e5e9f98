"""A store that fails costs a miss, a count and a log line; never the caller's answer."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import override_settings

import llmcache
from llmcache import Cache
from llmcache.envelope import unseal
from llmcache.upstreams import upstreams
from llmcache.upstreams.fake import FakeUpstream
from tests.servers.redis import own_server

ASK = {"model": "m", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}


@pytest.fixture
def disk(tmp_path: Path) -> Cache:
    cache = Cache(type="disk", disk_cache_dir=tmp_path / "entries")
    llmcache.cache = cache
    return cache


def tampered(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    "plant",
    [tampered, lambda data: data[:30], lambda data: b"", lambda data: pickle.dumps({"a": 1})],
    ids=["forged", "cut", "empty", "foreign"],
)
def test_a_damaged_or_forged_entry_is_a_miss_and_is_replaced(
    door: Any, disk: Cache, plant: Any, counted: Any
) -> None:
    first = door.completion(**ASK)
    data = disk.backend.get(first.cache.key)
    assert data is not None
    disk.backend.set(first.cache.key, plant(data), 60)
    second = door.completion(**ASK)
    assert (second.cache.outcome, counted("unreadable")) == ("miss", 1)
    assert second.id != first.id
    assert door.completion(**ASK).id == second.id


def test_an_entry_moved_to_another_key_is_a_miss(door: Any, disk: Cache) -> None:
    first = door.completion(**ASK)
    other = {**ASK, "model": "other"}
    key = llmcache.explain_key(**other)["digest"]
    disk.backend.set(key, disk.backend.get(first.cache.key) or b"", 60)
    assert door.completion(**other).cache.outcome == "miss"


def test_an_entry_tells_what_it_is_without_the_prompt(door: Any, disk: Cache) -> None:
    response = door.completion(**ASK, cache={"tags": ["b", "a"], "namespace": "n"})
    data = disk.backend.get(response.cache.key)
    assert data is not None
    header = unseal(response.cache.key, data).header
    assert header["tags"] == ["a", "b"]
    assert (header["namespace"], header["model"], header["kind"]) == ("n", "m", "completion")
    assert header["usage"] == {"input": 5, "output": 7, "cached": 0}


class TestRedis:
    @pytest.fixture
    def server(self) -> Any:
        with own_server() as server:
            yield server

    def use(self, server: Any) -> None:
        llmcache.cache = Cache(type="redis", host="127.0.0.1", port=server.port)

    def test_a_redis_that_hangs_costs_little_and_then_nothing(
        self, door: Any, server: Any, counted: Any
    ) -> None:
        self.use(server)
        door.completion(**ASK)
        assert door.completion(**ASK).cache.hit
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            outcomes = [door.completion(**ASK).cache.outcome for _ in range(20)]
            seconds = time.monotonic() - started
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        assert outcomes == ["error"] * 20
        assert counted("read_error") + counted("write_error") == 5  # then the breaker is open
        assert seconds < 10

    def test_a_redis_that_is_gone_is_a_miss_and_comes_back(self, door: Any) -> None:
        breaker = {"BREAKER_COOLDOWN": 0.1}
        with override_settings(LLMCACHE_CONFIG=breaker), own_server() as server:
            self.use(server)
            door.completion(**ASK)
            server.process.kill()
            server.process.wait()
            outcomes = {door.completion(**ASK).cache.outcome for _ in range(10)}
            assert outcomes == {"error"}
            assert llmcache.cache.breaker.is_open
            again = subprocess.Popen(
                server.process.args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                deadline = time.monotonic() + 20
                while not door.completion(**ASK).cache.hit:
                    assert time.monotonic() < deadline
                    door.sleep(0.05)
                assert not llmcache.cache.breaker.is_open
            finally:
                again.kill()
                again.wait()


@pytest.mark.django_db(transaction=True)
def test_a_missing_cache_table_breaks_neither_call_nor_transaction(counted: Any) -> None:
    from django.contrib.auth.models import User
    from django.db import transaction

    caches = {
        "default": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": "no_such_table",
        }
    }
    with override_settings(CACHES=caches):
        with transaction.atomic():
            response = llmcache.completion(**ASK)
            User.objects.create(username="ann")
        assert response.cache.outcome == "error"
        assert User.objects.filter(username="ann").exists()
        call_command("createcachetable", verbosity=0)
        llmcache.completion(**ASK)
        assert llmcache.completion(**ASK).cache.hit


def test_the_thread_writer_stores_after_the_answer_and_loses_nothing(tmp_path: Path) -> None:
    from llmcache import writer

    settings = {
        "LLMCACHE_CONFIG": {"WRITER": "thread"},
        "LLMCACHE": {
            "default": {
                "BACKEND": "llmcache.backends.disk.DiskBackend",
                "LOCATION": str(tmp_path / "d"),
            }
        },
    }
    with override_settings(**settings):
        upstream = upstreams["default"]
        assert isinstance(upstream, FakeUpstream)
        for _ in range(50):
            llmcache.completion(**ASK)
        assert upstream.call_count == 1
        writer.flush()
        assert llmcache.completion(**ASK).cache.outcome == "hit"


PROGRAM = """
    import django, os
    from django.conf import settings
    settings.configure(
        SECRET_KEY="x",
        INSTALLED_APPS=["llmcache"],
        LLMCACHE={"default": {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": %r}},
        LLMCACHE_CONFIG={"WRITER": "thread"},
        LLMCACHE_PROVIDERS={"default": {"BACKEND": "llmcache.upstreams.fake.FakeUpstream"}},
    )
    django.setup()
    import llmcache
    print(llmcache.completion("m", [{"role": "user", "content": "hello"}]).cache.outcome)
"""


def run(program: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_thread_writer_stores_what_waits_when_the_program_ends(tmp_path: Path) -> None:
    program = PROGRAM % str(tmp_path / "d")
    assert [run(program).strip(), run(program).strip()] == ["miss", "hit"]


def test_nothing_optional_is_imported_before_it_is_used() -> None:
    program = """
        import sys
        for name in ("redis", "django_redis", "boto3", "diskcache", "litellm", "openai",
                     "numpy", "celery"):
            sys.modules[name] = None  # as if it were not installed
        from django.conf import settings
        settings.configure(
            SECRET_KEY="x",
            INSTALLED_APPS=["llmcache"],
            LLMCACHE_PROVIDERS={"default": {"BACKEND": "llmcache.upstreams.fake.FakeUpstream"}},
        )
        import django
        django.setup()
        light = not {"httpx", "llmcache.api", "llmcache.engine"} & set(sys.modules)
        import llmcache
        ask = lambda: llmcache.completion("m", [{"role": "user", "content": "hello"}])
        print(light, ask().cache.outcome, ask().cache.outcome)
    """
    assert run(program).strip() == "True miss hit"
