"""Hits of each store, one call after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.contenders import Bench, ours
from benchmarks.questions import as_the_sdk, digest, floor, question
from benchmarks.timing import Contender, Row, calling
from llmcache import Cache
from llmcache.backends import stores
from tests.servers.redis import RedisServer
from tests.servers.s3 import S3Server

SIZES = {"1 KB": 1024, "30 KB": 30 * 1024}
RawGet = Callable[[str], bytes | None]


def race_sizes(
    bench: Bench,
    name: str,
    goals: Mapping[str, str],
    store: Mapping[str, Any],
    make: Callable[[], Cache],
    raw_set: Callable[[str, bytes], object],
    raw_gets: Mapping[str, RawGet],
    base: str = "floor",
) -> Iterator[Row]:
    """A row for each size of the prompt. Beside the floor runs one that gives what callers get:
    an answer whose members are attributes.
    """
    for size, number in SIZES.items():
        asked = question(number)
        cache = make()
        mine, body = ours(cache, asked)
        raw_set(digest(asked), body)
        own: dict[str, Contender] = {"ours": mine}
        own.update({who: calling(floor(asked, get)) for who, get in raw_gets.items()})
        own["floor, SDK's objects"] = calling(floor(asked, raw_gets["floor"], as_the_sdk))
        job = bench.job("hit", store, asked)
        yield bench.race_hits(f"{name}, {size}", goals[size], own, job, base=base)
        cache.close()


def in_memory(bench: Bench) -> Iterator[Row]:
    """`Cache(type="local")` against a dict; and the settings' default alias, in Django's
    LocMemCache, against that cache's `get` of the same bytes.
    """
    from django.core.cache import cache as locmem

    goals = {"1 KB": "2.0", "30 KB": "1.5"}
    kept: dict[str, bytes] = {}
    raw_gets = {"floor": kept.get}
    store = {"type": "memory"}
    yield from race_sizes(bench, "in-memory hit", goals, store, Cache, kept.__setitem__, raw_gets)
    yield from race_sizes(
        Bench([], bench.upstream, bench.directory),
        *("locmem hit", goals, store, lambda: Cache.over(stores["default"]), locmem.set),
        {"floor": locmem.get},
    )


def disk(bench: Bench) -> Iterator[Row]:
    """`Cache(type="disk")` against diskcache."""
    from diskcache import Cache as DiskCache

    with DiskCache(str(bench.directory / "raw")) as raw:
        yield from race_sizes(
            bench,
            "disk hit",
            {"1 KB": "4.0", "30 KB": "4.0"},
            {"type": "disk"},
            lambda: Cache(type="disk", disk_cache_dir=bench.directory / "ours"),
            raw.set,
            {"floor": raw.get},
        )


def redis(bench: Bench, server: RedisServer) -> Iterator[Row]:
    """`Cache(type="redis")` against django-redis; redis-py runs beside it."""
    import redis as redis_package
    from django_redis.cache import RedisCache

    raw = redis_package.Redis.from_url(server.url)
    package = RedisCache(server.url, {})

    def keep(key: str, data: bytes) -> None:
        raw.set(key, data)
        package.set(key, data)

    yield from race_sizes(
        bench,
        "redis hit",
        {"1 KB": "1.4", "30 KB": "1.4"},
        {"type": "redis", "url": server.url, "port": server.port},
        lambda: Cache(type="redis", host="127.0.0.1", port=server.port),
        keep,
        {"floor": raw.get, "django-redis": package.get},  # type: ignore[dict-item]
        base="django-redis",
    )
    raw.close()


def s3(bench: Bench, server: S3Server) -> Iterator[Row]:
    """`Cache(type="s3")` against boto3's get_object."""
    options = {
        "s3_bucket_name": server.bucket,
        "s3_endpoint_url": server.endpoint_url,
        "s3_region_name": "us-east-1",
        "s3_aws_access_key_id": "any",
        "s3_aws_secret_access_key": "any",
    }
    mine = Cache(type="s3", s3_config={"s3": {"addressing_style": "path"}}, **options)
    client = mine.backend.client  # type: ignore[attr-defined]

    def raw_get(key: str) -> bytes:
        body: bytes = client.get_object(Bucket=server.bucket, Key=key)["Body"].read()
        return body

    yield from race_sizes(
        bench,
        "S3 hit",
        {"1 KB": "1.05", "30 KB": "1.05"},
        {"type": "s3", "options": options},
        lambda: mine,
        lambda key, data: client.put_object(Bucket=server.bucket, Key=key, Body=data),
        {"floor": raw_get},
    )
