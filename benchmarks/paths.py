"""The paths that are measured: hits of each store, replays, misses, import and memory."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import orjson

import llmcache
from benchmarks.peer import Peer
from benchmarks.questions import answer, digest, floor, question
from benchmarks.timing import Contender, Result, calling, race
from llmcache import Cache, completion
from llmcache.backends import stores
from llmcache.backends.memory import MemoryBackend
from llmcache.conf import BackendSettings
from llmcache.upstreams import upstreams
from tests.servers import provider
from tests.servers.redis import RedisServer
from tests.servers.s3 import S3Server

SIZES = {"1 KB": 1024, "30 KB": 30 * 1024}
ROUNDS = 15


def prepare() -> None:
    """Let the fake provider answer with a text of usual length."""
    upstreams["default"].responses = answer  # type: ignore[attr-defined]


def _ours(cache: Cache, asked: dict[str, Any]) -> tuple[Contender, bytes]:
    """Hits of our cache, and the answer's bytes for the floor to store."""
    llmcache.cache = cache
    body = completion(**asked).raw

    def hit() -> str:
        text: str = completion(**asked).choices[0].message.content
        return text

    assert completion(**asked).cache.hit

    def run(times: int) -> float:
        llmcache.cache = cache
        return calling(hit)(times)

    return run, body


def _race_hits(
    name: str,
    goals: dict[str, str],
    make: Callable[[], Cache],
    raw_set: Callable[[str, bytes], object],
    raw_gets: dict[str, Callable[[str], bytes | None]],
    peer: Contender | Callable[[dict[str, Any]], Contender] | None,
    times: int,
) -> Iterator[Result]:
    for size, number in SIZES.items():
        asked = question(number)
        cache = make()
        ours, body = _ours(cache, asked)
        raw_set(digest(asked), body)
        contenders: dict[str, Contender] = {"ours": ours}
        for label, raw_get in raw_gets.items():
            contenders[label] = calling(floor(asked, raw_get))
        if peer is not None:
            contenders["LiteLLM"] = peer(asked)  # type: ignore[arg-type,assignment]
        yield race(f"{name}, {size}", goals[size], contenders, times=times, rounds=ROUNDS)
        cache.close()


def _peer(peer: Peer | None, **cache: Any) -> Any:
    return None if peer is None else lambda asked: peer.hits(cache, asked)


def in_memory(peer: Peer | None) -> Iterator[Result]:
    """Hits of `Cache(type="local")` against a dict."""
    kept: dict[str, bytes] = {}
    yield from _race_hits(
        "in-memory hit",
        {"1 KB": "2.0", "30 KB": "1.5"},
        Cache,
        kept.__setitem__,
        {"floor": kept.get},
        _peer(peer, type="local"),
        300,
    )


def locmem() -> Iterator[Result]:
    """Hits of the settings' default alias, in Django's LocMemCache, against that cache's get."""
    from django.core.cache import cache as raw

    yield from _race_hits(
        "locmem hit",
        {"1 KB": "2.0", "30 KB": "1.5"},
        lambda: Cache.over(stores["default"]),
        raw.set,
        {"floor": raw.get},
        None,
        300,
    )


def disk(peer: Peer | None, directory: Path) -> Iterator[Result]:
    """Hits of `Cache(type="disk")` against diskcache."""
    from diskcache import Cache as DiskCache

    raw = DiskCache(str(directory / "raw"))
    yield from _race_hits(
        "disk hit",
        {"1 KB": "4.0", "30 KB": "4.0"},
        lambda: Cache(type="disk", disk_cache_dir=directory / "ours"),
        raw.set,
        {"floor": raw.get},
        _peer(peer, type="disk", disk_cache_dir=str(directory / "litellm")),
        100,
    )


def redis(peer: Peer | None, server: RedisServer) -> Iterator[Result]:
    """Hits of `Cache(type="redis")` against redis-py and against django-redis."""
    import redis as redis_package
    from django_redis.cache import RedisCache

    raw = redis_package.Redis.from_url(server.url)
    package = RedisCache(server.url, {})

    def keep(key: str, data: bytes) -> None:
        raw.set(key, data)
        package.set(key, data)

    yield from _race_hits(
        "redis hit",
        {"1 KB": "1.4", "30 KB": "1.4"},
        lambda: Cache(type="redis", host="127.0.0.1", port=server.port),
        keep,
        {"floor": raw.get, "django-redis": package.get},  # type: ignore[dict-item]
        _peer(peer, type="redis", host="127.0.0.1", port=str(server.port)),
        100,
    )


def s3(peer: Peer | None, server: S3Server) -> Iterator[Result]:
    """Hits of `Cache(type="s3")` against boto3's get_object."""
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

    yield from _race_hits(
        "S3 hit",
        {"1 KB": "1.05", "30 KB": "1.05"},
        lambda: mine,
        lambda key, data: client.put_object(Bucket=server.bucket, Key=key, Body=data),
        {"floor": raw_get},
        _peer(peer, type="s3", **options),
        10,
    )


def replay() -> Iterator[Result]:
    """A recorded stream against one hit of a plain answer, both in memory."""
    llmcache.cache = cache = Cache()
    asked = question(1024)
    hit, _ = _ours(cache, {**asked, "seed": 1})
    for _ in completion(**asked, stream=True):
        pass

    def first() -> object:
        stream = completion(**asked, stream=True)
        text = next(stream).choices[0].delta.content
        stream.close()
        return text

    def forwarded() -> list[bytes]:
        return [chunk.raw for chunk in completion(**asked, stream=True)]

    def read() -> list[str | None]:
        return [c.choices[0].delta.content for c in completion(**asked, stream=True)]

    goals = {"first chunk (goal: 200 us)": ("", first), "forwarded": ("5.0", forwarded)}
    goals["every chunk read"] = ("5.0", read)
    for name, (goal, ours) in goals.items():
        contenders = {"ours": calling(ours), "one hit": hit}
        yield race(f"replay, {name}", goal, contenders, times=100, rounds=ROUNDS)


def miss() -> Iterator[Result]:
    """A miss over HTTP and its store, against a plain httpx call with a get and a set."""
    with provider.running() as server:
        settings = {"default": {"OPTIONS": {"base_url": server.base_url, "api_key": "none"}}}
        from django.test import override_settings

        with override_settings(LLMCACHE_PROVIDERS=settings):
            llmcache.cache = Cache()
            asked = question(1024)
            count = iter(range(10**9))
            client = httpx.Client()
            kept: dict[str, bytes] = {}

            def ours() -> object:
                return completion(**asked, seed=next(count)).choices[0].message.content

            def plain() -> object:
                body = {**asked, "seed": next(count)}
                kept.get(digest(body))
                raw = client.post(
                    f"{server.base_url}/chat/completions",
                    content=orjson.dumps(body),
                    headers={"Content-Type": "application/json", "Authorization": "Bearer none"},
                ).content
                kept[digest(body)] = raw
                return orjson.loads(raw)["choices"][0]["message"]["content"]

            contenders = {"ours": calling(ours), "floor": calling(plain)}
            yield race("miss overhead", "1.25", contenders, times=40, rounds=ROUNDS)
            client.close()


_IMPORT = """
import resource, time
from pathlib import Path
from django.conf import settings
settings.configure(SECRET_KEY="x", INSTALLED_APPS={apps!r})
started = time.perf_counter()
import django
django.setup()
taken = time.perf_counter() - started
# Not the peak of getrusage: a child inherits its parent's.
pages = int(Path("/proc/self/statm").read_text().split()[1])
print(taken, pages * resource.getpagesize())
"""


def import_cost(rounds: int = 11) -> tuple[float, float]:
    """Milliseconds and megabytes that the app in INSTALLED_APPS adds to Django alone."""

    def start(apps: list[str]) -> tuple[float, float]:
        command = [sys.executable, "-c", _IMPORT.format(apps=apps)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds, size = told.split()
        return float(seconds) * 1000, float(size) / 2**20

    pairs = [(start(["llmcache"]), start([])) for _ in range(rounds)]
    return tuple(median(ours[i] - bare[i] for ours, bare in pairs) for i in (0, 1))  # type: ignore[return-value]


def memory_ratio(number: int = 20_000, size: int = 2048) -> float:
    """Bytes per entry of the in-memory store, over a dict of the same bytes."""
    data = [bytes([n % 251]) * size for n in range(number)]
    keys = [f"{n:064x}" for n in range(number)]

    def cost(fill: Callable[[], object]) -> tuple[int, object]:
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        kept = fill()
        used = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        return used, kept

    def ours() -> object:
        options = {"max_entries": number * 2}
        backend = MemoryBackend(BackendSettings(alias="memory", options=options))
        for key, value in zip(keys, data, strict=True):
            backend.set(str(bytes(key, "ascii"), "ascii"), bytes(bytearray(value)), 60)
        return backend

    def plain() -> object:
        return {
            str(bytes(key, "ascii"), "ascii"): bytes(bytearray(value))
            for key, value in zip(keys, data, strict=True)
        }

    return cost(ours)[0] / cost(plain)[0]
