"""Hits of `completion`, and what is stored, in stores of more and more entries: each beside what
the store's own client takes for the same keys.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import perf_counter, time
from typing import Any, Final

import llmcache
from benchmarks.spreads import Spread, steady
from llmcache import Cache, backends, recorder
from llmcache.backends.base import BaseBackend, Item
from llmcache.conf import BackendSettings
from llmcache.envelope import seal, unseal
from llmcache.upstreams import upstreams

STORES: Final = ("in memory", "on disk", "in Redis")
_ANSWER: Final = "An answer of some length. " * 16
_DAY: Final = 86_400.0
_AT_A_TIME: Final = 2_000


@dataclass(frozen=True)
class Growing:
    """A store with a client of its own for the same keys.

    Attributes:
        raw_get, raw_set: by what `BaseBackend.make_key` makes of a digest.
    """

    backend: BaseBackend
    raw_get: Callable[[str], object]
    raw_set: Callable[[str, bytes], object]


def question(number: int) -> dict[str, Any]:
    """The arguments of a call that only its number tells from others."""
    text = f"What is the answer to question {number}?"
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}


def measure(
    sizes: Sequence[int], tries: int, directory: Path, redis_url: str
) -> Iterator[tuple[str, int, dict[str, Spread]]]:
    """Of each store at each size: hits, and what its client takes to read; what is stored, and what
    its client takes to write.

    Args:
        tries: how many hits are measured, and half as many writes.
    """
    upstreams["default"].responses = lambda request: _ANSWER  # type: ignore[attr-defined]
    digests: list[str] = []
    for name, make in zip(STORES, (_memory, _disk, _redis), strict=True):
        with make(max(sizes), directory, redis_url) as growing:
            cache = Cache.over(growing.backend)
            have = 0
            for size in sizes:
                missing = range(len(digests), size)
                digests += [cache.get_cache_key(**question(number)) for number in missing]
                _fill(cache, digests[have:size])
                have = size
                yield name, size, _measure(growing, cache, digests[:size], tries)


def _fill(cache: Cache, digests: Sequence[str]) -> None:
    llmcache.cache = cache
    backend, signed = cache.backend, not cache.backend.process_local
    first = llmcache.completion(**question(0)).cache.key
    data = backend.get(first)
    assert data is not None
    envelope = unseal(first, data, signed=signed)
    now = time()
    for start in range(0, len(digests), _AT_A_TIME):
        backend.set_many(
            Item(
                digest,
                seal(
                    digest,
                    envelope.payload,
                    created=now,
                    expires=now + _DAY,
                    stale_until=now + _DAY,
                    header=envelope.header,
                    sign=signed,
                ),
                _DAY,
            )
            for digest in digests[start : start + _AT_A_TIME]
        )


def _measure(
    growing: Growing, cache: Cache, digests: Sequence[str], tries: int
) -> dict[str, Spread]:
    lots, backend = random.Random(len(digests)), growing.backend
    taken: dict[str, list[float]] = {"hit": [], "raw get": [], "set": [], "raw set": []}

    def timed(name: str, function: Callable[[], object]) -> Any:
        started = perf_counter()
        found = function()
        taken[name].append(perf_counter() - started)
        return found

    def hit() -> None:
        asked = question(lots.randrange(len(digests)))
        assert timed("hit", lambda: llmcache.completion(**asked)).cache.hit

    def raw_get() -> None:
        key = backend.make_key(lots.choice(digests))
        assert timed("raw get", lambda: growing.raw_get(key)) is not None

    llmcache.cache = cache
    for number in range(tries + tries // 4):
        if number == tries // 4:  # warm by now
            taken = {name: [] for name in taken}
        hit()
        raw_get()
    sample = backend.get(digests[0])
    assert sample is not None
    written = []
    for number in range(tries // 2):
        # Not an entry of ours under our digest, so that nothing but its size is alike.
        digest, other = (sha256(f"{lots.random()} {number}".encode()).hexdigest() for _ in "12")
        timed("set", lambda d=digest: backend.set(d, sample, _DAY))  # type: ignore[misc]
        timed("raw set", lambda o=other: growing.raw_set(backend.make_key(o), sample))  # type: ignore[misc]
        written += [digest, other]
    backend.delete_many(written)
    recorder.flush()
    return {name: steady(seconds) for name, seconds in taken.items()}


def _build(path: str, location: str = "", **options: Any) -> BaseBackend:
    return backends.build(
        BackendSettings(alias="default", backend=path, location=location, options=options)
    )


@contextmanager
def _memory(most: int, directory: Path, redis_url: str) -> Iterator[Growing]:
    path = "llmcache.backends.memory.MemoryBackend"
    backend = _build(path, max_entries=2 * most + 10_000, max_bytes=2**40)
    kept: dict[str, bytes] = {}

    def raw_get(key: str) -> object:  # a dict as large as the store would double the memory
        return backend.get(key.removeprefix(backend.prefix))

    yield Growing(backend, raw_get, kept.__setitem__)


@contextmanager
def _disk(most: int, directory: Path, redis_url: str) -> Iterator[Growing]:
    from diskcache import Cache as DiskCache

    path = "llmcache.backends.disk.DiskBackend"
    size_limit = 2**40
    backend = _build(path, str(directory), size_limit=size_limit)
    backend.get("0")  # makes the directory
    raw = DiskCache(str(directory), size_limit=size_limit, eviction_policy="least-recently-stored")

    def raw_set(key: str, data: bytes) -> object:
        return raw.set(key, data, expire=_DAY)

    yield Growing(backend, raw.get, raw_set)
    raw.close()
    backend.close()


@contextmanager
def _redis(most: int, directory: Path, redis_url: str) -> Iterator[Growing]:
    from redis import Redis

    backend = _build("llmcache.backends.redis.RedisBackend", redis_url)
    raw = Redis.from_url(redis_url)

    def raw_set(key: str, data: bytes) -> object:
        return raw.set(key, data, px=int(_DAY * 1000))

    yield Growing(backend, raw.get, raw_set)
    raw.close()
    backend.close()
