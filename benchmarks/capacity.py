"""`python -m benchmarks.capacity [--calls 1e9] [--hits 0.9] ...`: what one call costs in each part,
as measured here over a real Redis and a real PostgreSQL, and what so many calls a day need by that.
"""

from __future__ import annotations

import argparse
import os
import secrets
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from functools import partial
from itertools import count
from time import perf_counter, process_time
from typing import Any

import django

from benchmarks.capacity_model import Costs, Site, needs

ENTRIES = 2000
ROWS = 50_000
BATCH = 50
ANSWER = "The answer, in the words of a model. " * 40
"""Some 300 tokens, as an answer to a question of 1 KB often has."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for field in fields(Site):
        name = f"--{field.name.replace('_', '-')}"
        parser.add_argument(name, type=float, default=field.default, metavar="N")
    site = Site(**vars(parser.parse_args()))
    from tests.servers import postgres, redis

    with redis.plain_server() as store, postgres.own_server() as database:
        os.environ["BENCH_DATABASE_URL"] = database.url
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.ledger_settings"
        django.setup()
        costs = measure(store.url)
    print("\nmeasured here")
    for name, value in asdict(costs).items():
        print(f"  {name:<28} {value:>12,.1f}")
    print(f"\n{site.calls:,.0f} calls a day")
    for what, value, formula in needs(site, costs):
        print(f"  {what:<44} {value:>14,.{0 if value >= 20 else 2}f}   {formula}")


def measure(url: str) -> Costs:
    """All unit costs."""
    from django.core.management import call_command
    from django.test import override_settings

    from llmcache.recorder import recorder

    call_command("migrate", verbosity=0)
    store = {"BACKEND": "llmcache.backends.redis.RedisBackend", "LOCATION": url}
    with override_settings(LLMCACHE={"default": store}, LLMCACHE_CONFIG={"RECORDER": "off"}):
        calls = of_calls(url)
    recorder.stop()
    with override_settings(LLMCACHE_CONFIG={"LOG_SAMPLE": 1.0}):
        rows = of_rows()
        return Costs(**calls, **rows, **of_batches())


# --- calls and Redis ---


def of_calls(url: str) -> dict[str, float]:
    """What hits and misses take of this process and of Redis."""
    import redis

    import llmcache
    from llmcache.upstreams import upstreams

    upstreams["default"].responses = lambda request: ANSWER  # type: ignore[attr-defined]
    server = redis.Redis.from_url(url)
    numbers = count()

    def ask(number: int) -> None:
        text = f"{number} " + "question " * 120
        llmcache.completion("gpt-4o-mini", messages=[{"role": "user", "content": text}])

    def costs(call: Callable[[], None], times: int) -> tuple[float, float]:
        call()
        before, started = busy(server), process_time()
        for _ in range(times):
            call()
        return (
            (process_time() - started) / times * 1e6,
            (busy(server) - before) / times * 1e6,
        )

    empty = server.info("memory")["used_memory"]
    miss, redis_miss = costs(lambda: ask(next(numbers)), ENTRIES)
    size = (server.info("memory")["used_memory"] - empty) / server.dbsize()
    hit, redis_hit = costs(lambda: ask(7), 10 * ENTRIES)
    (key,) = server.scan(count=1)[1][:1]
    return {
        "hit_cpu_us": hit,
        "miss_cpu_us": miss,
        "redis_hit_us": redis_hit,
        "redis_miss_us": redis_miss,
        "entry_bytes": size,
        "answer_bytes": float(server.strlen(key)),
    }


def busy(server: Any) -> float:
    """Seconds that a Redis has worked."""
    told = server.info("cpu")
    return float(told["used_cpu_user"] + told["used_cpu_sys"])


# --- the database ---


def of_rows() -> dict[str, float]:
    """Bytes of rows with their indexes, and the processors' time that writing many of them takes:
    the recorder's and the server's.
    """
    import psutil
    from django.db import connection

    from llmcache import ledger
    from tests.ledger.records import called, stored

    def size(table: str) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_total_relation_size(%s)", [f"llmcache_{table}"])
            return int(cursor.fetchone()[0])

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        server = psutil.Process(cursor.fetchone()[0])

    def costs(work: Callable[[int], None]) -> tuple[float, float]:
        before, started = sum(server.cpu_times()[:2]), process_time()
        for start in range(0, ROWS, 10_000):
            work(start)
        ours, theirs = process_time() - started, sum(server.cpu_times()[:2]) - before
        return ours / ROWS * 1e6, theirs / ROWS * 1e6

    prompt = {"preview": "question " * 22, "shown": "x" * 400, "material": b""}
    misses = [called("miss", n) for n in range(10_000)]
    new = [stored(n, **prompt) for n in range(ROWS)]
    hits = [called("hit", n) for n in range(ROWS)]
    before = size("call")
    logged = costs(lambda start: ledger.write(misses, []))
    call_bytes = (size("call") - before) / ROWS
    before = size("entry")
    indexed = costs(lambda start: ledger.write([], new[start : start + 10_000]))
    entry_bytes = (size("entry") - before) / ROWS
    with settings(LOG_SAMPLE=0):
        counted = costs(lambda start: ledger.write(hits[start : start + 10_000], []))
    with settings(LOG_SAMPLE=0, HIT_SAMPLE=0):
        summed = costs(lambda start: ledger.write(hits[start : start + 10_000], []))
    return {
        "call_row_bytes": call_bytes,
        "entry_row_bytes": entry_bytes,
        "record_us": summed[0],
        "record_db_us": summed[1],
        "call_row_us": max(0.0, logged[0] - summed[0]),
        "call_row_db_us": logged[1] - summed[1],
        "entry_row_us": indexed[0],
        "entry_row_db_us": indexed[1],
        "hit_row_us": counted[0] - summed[0],
        "hit_row_db_us": counted[1] - summed[1],
        "record_bytes": in_memory(),
    }


def in_memory() -> float:
    """Bytes of a record that waits in the buffer."""
    from tests.ledger.records import called

    tracemalloc.start()
    noted = partial(secrets.token_bytes, 160)
    kept = [tuple(called("hit", n, at=n * 1.5, noted=noted())) for n in range(10_000)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / len(kept)


def of_batches() -> dict[str, float]:
    """Small batches of several writers at once, all about the same figures: a second's worth of
    each of many processes.
    """
    from django.db import connections

    from llmcache import ledger
    from tests.ledger.records import called

    models, latencies = [f"model-{n}" for n in range(5)], (0.0001, 0.0005, 0.5, 2.0)
    done = [0] * 4

    def records(worker: int) -> Iterator[list[Any]]:
        numbers = count(worker * 10_000_000)
        while True:
            yield [
                called(
                    "miss" if n % 10 == 0 else "hit",
                    next(numbers),
                    model=models[n % 5],
                    latency=latencies[n % 4],
                )
                for n in range(BATCH)
            ]

    end = perf_counter() + 10

    def work(worker: int) -> None:
        for batch in records(worker):
            ledger.write(batch, [])
            done[worker] += 1
            if perf_counter() > end:
                connections.close_all()
                return

    with settings(LOG_SAMPLE=0, HIT_SAMPLE=0):
        threads = [threading.Thread(target=work, args=(n,)) for n in range(len(done))]
        started = perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return {"batches_a_second": sum(done) / (perf_counter() - started)}


def settings(**config: Any) -> Any:
    from django.test import override_settings

    return override_settings(LLMCACHE_CONFIG=config)


if __name__ == "__main__":
    main()
