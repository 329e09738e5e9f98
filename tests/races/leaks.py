"""`python -m tests.races.leaks CALLS [REDIS_URL]`: so many calls of every kind in one process, and
what has grown since the first fifth of them. Ends with 1 if anything has.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOM = 12_000_000
"""Bytes of memory that may come: the allocator's own, and caches of libraries."""
POOL = 32
"""Threads in which tasks reach a store without an async client. Each has its own files."""
THREADS = 8
"""Others that may come when there is need."""
ROUND = 20  # calls


def main() -> None:
    number = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        set_up(Path(directory), sys.argv[2] if len(sys.argv) > 2 else "")
        grown = run(number)
        stop()
    print(json.dumps(grown))
    allowed = {"bytes": ROOM, "threads": THREADS, "files": 2 * THREADS}
    sys.exit(any(value > allowed.get(name, 0) for name, value in grown.items()))


def set_up(directory: Path, url: str) -> None:
    """A site with a store of every sort, each too small for what comes."""
    import django
    from django.conf import settings

    stores: dict[str, Any] = {
        "default": {
            "BACKEND": "llmcache.backends.memory.MemoryBackend",
            "OPTIONS": {"max_entries": 200},
        },
        "disk": {
            "BACKEND": "llmcache.backends.disk.DiskBackend",
            "LOCATION": str(directory / "entries"),
            "OPTIONS": {"size_limit": 1 << 20},
        },
    }
    if url:
        stores["redis"] = {
            "BACKEND": "llmcache.backends.redis.RedisBackend",
            "LOCATION": url,
            "KEY_PREFIX": directory.name,
        }
    settings.configure(
        SECRET_KEY="a key for tests only",
        USE_TZ=True,
        INSTALLED_APPS=["llmcache"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": directory / "site.sqlite3",
                "OPTIONS": {"timeout": 30},
            }
        },
        LLMCACHE=stores,
        LLMCACHE_CONFIG={"FLUSH_INTERVAL": 0.2, "LOG_SAMPLE": 0.01, "BACKEND_TIMEOUT": 10},
        LLMCACHE_PROVIDERS={"default": {"BACKEND": "llmcache.upstreams.fake.FakeUpstream"}},
    )
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def stop() -> None:
    from llmcache.recorder import recorder

    recorder.stop()


def run(number: int) -> dict[str, int]:
    """What has grown."""
    calls = kinds()
    with asyncio.Runner() as runner:
        runner.run(fill_pool())
        first: dict[str, int] = {}
        for at in range(number // ROUND):
            for _ in range(ROUND // len(calls)):
                for call in calls:
                    runner.run(call(at)) if asyncio.iscoroutinefunction(call) else call(at)
            if at == number // ROUND // 5:
                runner.run(asyncio.sleep(0.2))  # what is given up ends by itself
                first = held()
        runner.run(asyncio.sleep(0.2))
        last = held()
    return {name: last[name] - first[name] for name in last}


async def fill_pool() -> None:
    """Have the threads that come with need, each with the files that it opens."""
    from llmcache.backends import stores
    from llmcache.backends.base import run_in_thread

    together = threading.Barrier(POOL, timeout=60)

    def read() -> None:
        together.wait()
        stores["disk"].get("0" * 64)

    await asyncio.gather(*(run_in_thread(read) for _ in range(POOL)))


def kinds() -> list[Callable[[int], Any]]:
    """One function a kind of call; each takes the number of its round."""
    import llmcache
    from llmcache import conf
    from llmcache.exceptions import ServerFailed
    from llmcache.upstreams import upstreams

    upstream: Any = upstreams["default"]
    aliases = list(conf.backends())

    def ask(at: int, text: str, **more: Any) -> dict[str, Any]:
        upstream.calls.clear()  # the fake provider's own notes
        using = aliases[at % len(aliases)]
        messages = [{"role": "user", "content": text}]
        return {"model": "m", "messages": messages, "using": using, "num_retries": 0, **more}

    def hit(at: int) -> None:
        llmcache.completion(**ask(at, "known"))

    def miss(at: int) -> None:
        llmcache.completion(**ask(at, f"new {at}"))

    def stream(at: int) -> None:
        list(llmcache.completion(**ask(at, f"stream {at % 50}"), stream=True))

    def left(at: int) -> None:
        next(iter(llmcache.completion(**ask(at, f"left {at}"), stream=True)))

    def vectors(at: int) -> None:
        llmcache.embedding("m", input=["known", f"new {at}"], using=aliases[at % len(aliases)])

    def failure(at: int) -> None:
        upstream.fail = 500
        try:
            with suppress(ServerFailed):
                llmcache.completion(**ask(at, f"failure {at}"))
        finally:
            upstream.fail = None

    async def async_hit(at: int) -> None:
        await llmcache.acompletion(**ask(at, "known"))

    async def async_stream(at: int) -> None:
        answer: Any = await llmcache.acompletion(**ask(at, f"new stream {at}"), stream=True)
        async for _ in answer:
            pass

    async def together(at: int) -> None:
        await asyncio.gather(*(llmcache.acompletion(**ask(at, f"many {at}")) for _ in range(3)))

    async def cancelled(at: int) -> None:
        upstream.latency = 0.001
        task = asyncio.create_task(llmcache.acompletion(**ask(at, f"cancelled {at}")))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        upstream.latency = 0.0

    return [
        *(hit, miss, stream, left, vectors, failure),
        *(async_hit, async_stream, together, cancelled),
    ]


def held() -> dict[str, int]:
    """What this process holds."""
    from llmcache import afetching, claims, fetching, relays, writer
    from llmcache.recorder import recorder

    writer.flush()
    recorder.flush()
    for _ in range(3):
        gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
        "flights": len(fetching.flights._flights),
        "async flights": sum(map(len, afetching.flights._loops.values())),
        "claims": len(claims._keeper._claims),
        "relays": len(relays.watch._relays),
        "last steps": len(afetching._last_steps),
        **objects(),
    }


def objects() -> dict[str, int]:
    """How many of our own objects there are that a call makes."""
    from llmcache.broadcast import AsyncBroadcast, Broadcast
    from llmcache.claims import Claim
    from llmcache.plans import Plan

    wanted = {kind: kind.__name__ for kind in (AsyncBroadcast, Broadcast, Claim, Plan)}
    found = dict.fromkeys(wanted.values(), 0)
    for one in ours(gc.get_objects(), tuple(wanted)):
        found[wanted[type(one)]] += 1
    return found


def ours(all_objects: list[Any], kinds: tuple[type, ...]) -> Iterator[Any]:
    return (one for one in all_objects if type(one) in kinds)


if __name__ == "__main__":
    main()
