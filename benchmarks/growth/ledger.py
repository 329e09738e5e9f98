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
from django.db.models import Model

from benchmarks import tables
from benchmarks.spreads import Spread, steady
from llmcache import ledger, maintenance, rollup, sweeping
from llmcache.models import Call, Entry, HourlyStat
from llmcache.records import CallRecord, EntryRecord

_BATCHES: Final = 15
_HITS, _MISSES = 900, 100
_FIGURES: Final = ("dashboard, 90 days",)
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
    and `tasks`. The figures are as many at every size.

    Args:
        tries: how many entries are looked up.
    """
    have = 0
    for step, size in enumerate(sizes):
        tables.fill(size, size, have=have)
        have = size
        rounds = 5 if tries > 1000 else 1
        if not step:  # as on a site that runs the task, and on one that does not
            before = tables.pages(rounds, only=_FIGURES)
            rolled_up = _watched(rollup.roll_up, HourlyStat)
        pages = tables.pages(rounds)
        pages |= {f"{name}, never rolled up": row for name, row in before.items()}
        found: dict[str, Any] = {"pages": pages, "lookup": _lookups(tries), "flush": _flushes()}
        _run(*_FORGET)
        found["tasks"] = dict(_tasks(step)) | ({} if step else {"roll up": rolled_up})
        yield size, found


def _lookups(tries: int) -> Spread:
    rows = list(Entry.objects.order_by("?").values_list("digest", "alias")[:tries])
    taken = []
    for digest, alias in rows:
        started = perf_counter()
        Entry.objects.only("pk").get(digest=digest, alias=alias)
        taken.append(perf_counter() - started)
    return steady(taken)


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
    return steady(taken)


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
        table: how many rows its table had.
        rows: how many it removed.
        seconds: how long that took.
        waited: the longest that the recorder waited meanwhile to write one hit.
        memory: bytes that the process had more at most.
    """

    table: int
    rows: int
    seconds: float
    waited: float
    memory: int


def _tasks(step: int) -> Iterator[tuple[str, Task]]:
    """Evict one in a hundred entries, let one in ten expire, and one in ten calls grow old."""
    _run(
        f"""INSERT INTO llmcache_entrytag (entry_id, name)
        SELECT id, 'many' FROM llmcache_entry WHERE id % 100 = {50 + step}"""
    )
    yield "evict by a tag", _watched(lambda: maintenance.evict(tag="many").removed, Entry)
    _run(f"UPDATE llmcache_entry SET kept_until = now() WHERE id % 10 = {4 + step}")
    yield "sweep the index", _watched(_sweep, Entry)
    _run(
        f"""UPDATE llmcache_call SET created = now() - interval '31 days'
        WHERE id % 10 = {4 + step}"""
    )
    yield "prune the log", _watched(_sweep, Call)


def _sweep() -> int:
    return sweeping.total(sweeping.sweep_all(aliases=())).total


def _run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in (*statements, "VACUUM ANALYZE"):
            cursor.execute(statement)


def _watched(task: Callable[[], int], model: type[Model]) -> Task:
    """Do a task beside a thread that writes hits of random entries, as a recorder does."""
    number = model._default_manager.count()
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
    return Task(number, rows, taken, max(waits), max(sizes))
