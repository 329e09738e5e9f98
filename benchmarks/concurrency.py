"""Hits a second of many tasks at once, in one event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import orjson

import llmcache
from benchmarks.contenders import Bench
from benchmarks.peers.serving import Loop, at_once
from benchmarks.questions import digest, question
from benchmarks.timing import Contender, Row
from llmcache import Cache
from tests.servers.redis import RedisServer


def hits(bench: Bench, server: RedisServer) -> Iterator[Row]:
    """`acompletion` by 100 tasks, in memory and on Redis, against the same store's raw get."""
    import redis.asyncio

    loop = Loop()
    asked = question(1024)
    raw = redis.asyncio.Redis.from_url(server.url)
    kept: dict[str, bytes] = {}

    async def from_memory(key: str) -> bytes | None:
        return kept.get(key)

    def looping(function: Callable[[], Awaitable[object]]) -> Contender:
        return lambda times: float(loop.run(at_once(function, times)))

    stores = {
        "in-memory": ({"type": "memory"}, Cache, from_memory),
        "redis": (
            {"type": "redis", "url": server.url, "port": server.port},
            lambda: Cache(type="redis", host="127.0.0.1", port=server.port),
            raw.get,
        ),
    }
    for name, (store, make, get) in stores.items():
        cache = make()
        llmcache.cache = cache

        async def ask() -> str:
            text: str = (await llmcache.acompletion(**asked)).choices[0].message.content
            return text

        async def body() -> bytes:
            data: bytes = (await llmcache.acompletion(**asked)).raw
            return data

        async def floor(get: Callable[[str], Awaitable[bytes | None]] = get) -> str:
            data = await get(digest(asked))
            assert data is not None
            text: str = orjson.loads(data)["choices"][0]["message"]["content"]
            return text

        kept[digest(asked)] = loop.run(body())
        loop.run(raw.set(digest(asked), kept[digest(asked)]))
        yield bench.race_hits(
            f"hits a second, 100 tasks, {name}",
            "",
            {"ours": looping(ask), "floor": looping(floor)},
            bench.job("concurrent hits", store, asked),
            rate=True,
        )
        loop.run(cache.backend.aclose())
        cache.close()
    loop.run(raw.aclose())
    loop.close()
