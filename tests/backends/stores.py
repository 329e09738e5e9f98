"""Every exact store that the contract suite runs over: one function a store, listed in FACTORIES.

A factory gets the pytest request and prepares one empty place (a directory, a bucket, a table). It
returns a function that makes a backend at that place; its keyword arguments are those of
BackendSettings, such as `key_prefix`, `version` and `options`. Two backends made with the same
arguments are the same alias, seen from two objects.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import call_command
from django.test import override_settings

from llmcache.backends.base import BaseBackend
from llmcache.backends.batched import BatchedBackend
from llmcache.backends.disk import DiskBackend
from llmcache.backends.django import DjangoCacheBackend
from llmcache.backends.layered import LayeredBackend
from llmcache.backends.memory import MemoryBackend
from llmcache.backends.redis import RedisBackend
from llmcache.backends.s3 import S3Backend
from llmcache.backends.semantic.local import LocalSemanticBackend
from llmcache.backends.semantic.redis import RedisSemanticBackend
from llmcache.conf import BackendSettings
from llmcache.testing.store_contract import Make
from tests.backends.routed import ALIAS, add_database
from tests.thirdparty.store import SqliteBackend

Factory = Callable[[pytest.FixtureRequest], Make]


def directory(request: pytest.FixtureRequest) -> Path:
    """A directory of this test's own."""
    path: Path = request.getfixturevalue("tmp_path")
    return path


def unique() -> str:
    """A name that no other test uses, for places that tests share."""
    return uuid.uuid4().hex


def memory(request: pytest.FixtureRequest) -> Make:
    def make(**changes: Any) -> BaseBackend:
        return MemoryBackend(BackendSettings(alias="memory", **changes))

    return make


def layered(*factories: Factory) -> Factory:
    """Layers made by other factories, the fastest first."""

    def factory(request: pytest.FixtureRequest) -> Make:
        layers = [factory(request) for factory in factories]

        def make(**changes: Any) -> BaseBackend:
            return LayeredBackend.over([make_layer(**changes) for make_layer in layers])

        return make

    return factory


def redis(request: pytest.FixtureRequest) -> Make:
    url, place = request.getfixturevalue("redis_server").url, unique()

    def make(**changes: Any) -> BaseBackend:
        changes["key_prefix"] = f"{place}{changes.get('key_prefix', '')}"
        return RedisBackend(BackendSettings(alias="redis", location=url, **changes))

    return make


def redis_cluster(request: pytest.FixtureRequest) -> Make:
    url, place = request.getfixturevalue("redis_cluster").url, unique()

    def make(**changes: Any) -> BaseBackend:
        changes["key_prefix"] = f"{place}{changes.get('key_prefix', '')}"
        changes["options"] = {"cluster": True, **changes.get("options", {})}
        return RedisBackend(BackendSettings(alias="cluster", location=url, **changes))

    return make


def disk(request: pytest.FixtureRequest) -> Make:
    place = directory(request) / "entries"

    def make(**changes: Any) -> BaseBackend:
        return DiskBackend(BackendSettings(alias="disk", location=str(place), **changes))

    return make


def semantic_local(request: pytest.FixtureRequest) -> Make:
    place = directory(request) / "semantic"

    def make(**changes: Any) -> BaseBackend:
        return LocalSemanticBackend(BackendSettings(alias="local", location=str(place), **changes))

    return make


def semantic_redis(request: pytest.FixtureRequest) -> Make:
    url, place = request.getfixturevalue("redis_server").url, unique()

    def make(**changes: Any) -> BaseBackend:
        changes["key_prefix"] = f"{place}{changes.get('key_prefix', '')}"
        return RedisSemanticBackend(BackendSettings(alias="redis", location=url, **changes))

    return make


def s3(request: pytest.FixtureRequest) -> Make:
    server, place = request.getfixturevalue("s3_server"), unique()

    def make(**changes: Any) -> BaseBackend:
        changes["options"] = {**server.options, **changes.get("options", {})}
        location = f"s3://{server.bucket}/{place}"
        return S3Backend(BackendSettings(alias="s3", location=location, **changes))

    return make


def batched_redis(request: pytest.FixtureRequest) -> Make:
    inner = redis(request)

    def make(**changes: Any) -> BaseBackend:
        return BatchedBackend(inner(**changes), flush_size=3, flush_interval=0.05)

    return make


def in_caches(request: pytest.FixtureRequest, **description: Any) -> Make:
    """DjangoCacheBackend over an alias of CACHES with this description, for one test."""
    caches = {"default": {"BACKEND": _DUMMY}, "place": {"KEY_PREFIX": unique(), **description}}
    changed = override_settings(CACHES=caches)
    changed.enable()
    request.addfinalizer(changed.disable)

    def make(**changes: Any) -> BaseBackend:
        return DjangoCacheBackend(BackendSettings(alias="place", location="place", **changes))

    return make


_DUMMY = "django.core.cache.backends.dummy.DummyCache"


def locmem(request: pytest.FixtureRequest) -> Make:
    return in_caches(
        request,
        BACKEND="django.core.cache.backends.locmem.LocMemCache",
        LOCATION=unique(),
        OPTIONS={"MAX_ENTRIES": 10_000},
    )


def files(request: pytest.FixtureRequest) -> Make:
    return in_caches(
        request,
        BACKEND="django.core.cache.backends.filebased.FileBasedCache",
        LOCATION=str(directory(request) / "files"),
        OPTIONS={"MAX_ENTRIES": 10_000},
    )


def database(request: pytest.FixtureRequest) -> Make:
    table = f"cache_{unique()[:12]}"
    make = in_caches(
        request,
        BACKEND="django.core.cache.backends.db.DatabaseCache",
        LOCATION=table,
        OPTIONS={"MAX_ENTRIES": 10_000},
    )
    call_command("createcachetable", table, verbosity=0)
    return make


def database_postgres(request: pytest.FixtureRequest) -> Make:
    add_database(request, request.getfixturevalue("postgres"))
    table = f"cache_{unique()[:12]}"
    make = in_caches(
        request,
        BACKEND="django.core.cache.backends.db.DatabaseCache",
        LOCATION=table,
        OPTIONS={"MAX_ENTRIES": 10_000},
    )
    call_command("createcachetable", table, verbosity=0, database=ALIAS)
    return make


def django_redis(request: pytest.FixtureRequest) -> Make:
    return in_caches(
        request,
        BACKEND="django.core.cache.backends.redis.RedisCache",
        LOCATION=request.getfixturevalue("redis_server").url,
    )


def django_redis_package(request: pytest.FixtureRequest) -> Make:
    return in_caches(
        request,
        BACKEND="django_redis.cache.RedisCache",
        LOCATION=request.getfixturevalue("redis_server").url,
    )


class SiteCache(LocMemCache):
    """A cache class of a site's own: all that we know of it is Django's public API."""


def unknown(request: pytest.FixtureRequest) -> Make:
    return in_caches(
        request,
        BACKEND=f"{__name__}.SiteCache",
        LOCATION=unique(),
        OPTIONS={"MAX_ENTRIES": 10_000},
    )


def third_party(request: pytest.FixtureRequest) -> Make:
    place = directory(request) / "entries.sqlite3"

    def make(**changes: Any) -> BaseBackend:
        return SqliteBackend(BackendSettings(alias="sqlite", location=str(place), **changes))

    return make


FACTORIES: dict[str, Factory] = {
    "batched-redis": batched_redis,
    "database": database,
    "database-postgres": database_postgres,
    "disk": disk,
    "django-redis": django_redis,
    "django-redis-package": django_redis_package,
    "files": files,
    "layered-disk-s3": layered(disk, s3),
    "layered-memory-redis": layered(memory, redis),
    "layered-redis-files": layered(redis, files),
    "locmem": locmem,
    "memory": memory,
    "layered-memory": layered(memory, memory),
    "redis": redis,
    "redis-cluster": redis_cluster,
    "s3": s3,
    "semantic-local": semantic_local,
    "semantic-redis": semantic_redis,
    "third-party": third_party,
    "unknown-cache": unknown,
}
