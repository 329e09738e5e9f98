"""The database's part as its tables grow, on PostgreSQL: looking an entry up, writing what the
recorder has gathered, the admin's pages, and what tasks delete.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from time import perf_counter, time
from typing import Any, Final

import orjson
import psutil
from django.db import connection, connections

from benchmarks import tables
from benchmarks.timing import Spread, spread
from llmcache import ledger, maintenance, rollup, sweeping
from llmcache.models import Entry
from llmcache.records import CallRecord, EntryRecord

_BATCHES: Final = 15
_HITS, _MISSES = 900, 100
_ASKED: Final = "What is the answer?"
_FORGET: Final = (  # what `_flushes` has written
    f"""DELETE FROM llmcache_entrytag USING llmcache_entry e
    WHERE entry_id = e.id AND e.preview = '{_ASKED}'""",
    f"DELETE FROM llmcache_entry WHERE preview = '{_ASKED}'",
    "DELETE FROM llmcache_call WHERE caller = ''",
)
_HEADER: Final = {
    "kind": "completion",
    "model": "model-1",
    "usage": {"input": 300, "output": 200, "cached": 0},
    "seconds": 0.9,
    "tags": ["product:1"],
}


def measure(sizes: Sequence[int], tries: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Of tables of each size: `pages`, `lookup` (seconds of one), `flush` (of a thousand records)
    and `tasks`.

    Args:
        tries: how many entries are looked up.
    """
    have = 0
    for step, size in enumerate(sizes):
        tables.fill(size, size, have=have)
        have = size
        found: dict[str, Any] = {"pages": tables.pages(5 if tries > 1000 else 1)}
        found["lookup"] = _lookups(tries)
        found["flush"] = _flushes()
        _run(*_FORGET)
        found["tasks"] = dict(_tasks(step, last=size == sizes[-1]))
        yield size, found


def _lookups(tries: int) -> Spread:
    rows = list(Entry.objects.order_by("?").values_list("digest", "alias")[:tries])
    taken = []
    for digest, alias in rows:
        started = perf_counter()
        Entry.objects.only("pk").get(digest=digest, alias=alias)
        taken.append(perf_counter() - started)
    return spread(taken)


def _flushes() -> Spread:
    """What the recorder's thread does with a thousand records: 900 hits and 100 new entries."""
    taken = []
    for number in range(_BATCHES):
        digests = Entry.objects.order_by("?").values_list("digest", flat=True)[:_HITS]
        hits = [_call("hit", digest) for digest in digests]
        new = [sha256(f"{time()} {number} {n}".encode()).hexdigest() for n in range(_MISSES)]
        entries = [_entry(digest) for digest in new]
        calls = [*hits, *(_call("miss", digest) for digest in new)]
        started = perf_counter()
        ledger.write(calls, entries)
        taken.append(perf_counter() - started)
    return spread(taken)


def _call(outcome: str, digest: str) -> CallRecord:
    return CallRecord(
        at=time(),
        outcome=outcome,
        reason="",
        alias="default",
        digest=digest,
        kind="completion",
        model="model-1",
        namespace="space-1",
        scope=None,
        caller=None,
        layer="default",
        streamed=False,
        latency=0.0001,
        age=10.0,
        similarity=None,
        lookup_cost=0.0,
        served=outcome == "hit",
        noted=orjson.dumps(_HEADER),
    )


def _entry(digest: str) -> EntryRecord:
    now = time()
    return EntryRecord(
        alias="default",
        digest=digest,
        created=now,
        expires=now + 86_400,
        kept_until=now + 86_400,
        size=2000,
        header=_HEADER,
        preview=_ASKED,
        shown='{"kind": "completion"}',
    )


# --- tasks ---


@dataclass
class Task:
    """What a task did.

    Attributes:
        rows: how many it removed.
        seconds: how long that took.
        waited: the longest that the recorder waited meanwhile to write one hit.
        memory: bytes that the process had more at most.
    """

    rows: int
    seconds: float
    waited: float
    memory: int


def _tasks(step: int, *, last: bool) -> Iterator[tuple[str, Task]]:
    """Evict one in a hundred entries, let one in ten expire, and one in ten calls grow old."""
    _run(
        f"""INSERT INTO llmcache_entrytag (entry_id, name)
        SELECT id, 'many' FROM llmcache_entry WHERE id % 100 = {50 + step}"""
    )
    yield "evict by a tag", _watched(lambda: maintenance.evict(tag="many").removed)
    _run(f"UPDATE llmcache_entry SET kept_until = now() WHERE id % 10 = {4 + step}")
    yield "sweep the index", _watched(_sweep)
    _run(
        f"""UPDATE llmcache_call SET created = now() - interval '31 days'
        WHERE id % 10 = {4 + step}"""
    )
    yield "prune the log", _watched(_sweep)
    if last:
        yield "roll up", _watched(rollup.roll_up)


def _sweep() -> int:
    return sweeping.total(sweeping.sweep_all(aliases=())).total


def _run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in (*statements, "VACUUM ANALYZE"):
            cursor.execute(statement)


def _watched(task: Callable[[], int]) -> Task:
    """Do a task beside a thread that writes hits of random entries, as a recorder does."""
    digests = list(Entry.objects.order_by("?").values_list("digest", flat=True)[:1000])
    done, waits, sizes = threading.Event(), [0.0], [0]
    process = psutil.Process()
    before = process.memory_info().rss

    def write() -> None:
        while not done.wait(0.05):
            started = perf_counter()
            ledger.write([_call("hit", random.choice(digests))], [])
            waits.append(perf_counter() - started)
        connections.close_all()

    def look() -> None:
        while not done.wait(0.02):
            sizes.append(process.memory_info().rss - before)

    threads = [threading.Thread(target=target) for target in (write, look)]
    for thread in threads:
        thread.start()
    try:
        started = perf_counter()
        rows = task()
        taken = perf_counter() - started
    finally:
        done.set()
        for thread in threads:
            thread.join()
    return Task(rows, taken, max(waits), max(sizes))
