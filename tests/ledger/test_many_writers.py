"""Several threads and processes write to one database at once: nothing is lost, nothing waits for
ever.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import Sum

from llmcache import ledger, maintenance
from llmcache.figures import SUMS
from llmcache.models import Call, Entry, EntryTag, HourlyStat
from tests.ledger.databases import in_threads
from tests.ledger.records import called, digest, stored
from tests.servers.site import ROOT

WRITERS, BATCHES, CALLS = 4, 5, 60
HOUR = 1_770_000_000.0
PROCESS = """
import json, os, sys
import django
from django.conf import settings
settings.configure(
    DATABASES={"default": json.loads(os.environ["LEDGER_DATABASE"])},
    INSTALLED_APPS=["llmcache"], USE_TZ=True, SECRET_KEY="a key for tests only",
)
from tests.servers.mariadb import use_driver
if settings.DATABASES["default"]["ENGINE"].endswith("mysql"):
    use_driver()
django.setup()
from llmcache import ledger
from tests.ledger.records import called
sys.stdin.readline()
for _ in range(20):
    ledger.write([called("hit", 1, at=%r), called("miss", 2, at=%r)], [])
"""


@pytest.fixture
def sums(database: str) -> Callable[[], dict[str, Any]]:
    """The sums over all figures."""
    return lambda: HourlyStat.objects.aggregate(**{name: Sum(name) for name in SUMS})


def test_two_processes_that_begin_an_hour_together_lose_nothing(
    database: str, migrated: dict[str, Any], sums: Callable[[], dict[str, Any]]
) -> None:
    ledger.write([], [stored(1)])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS % (HOUR, HOUR)],
            cwd=ROOT,
            env={**os.environ, "LEDGER_DATABASE": json.dumps(migrated)},
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    assert sums()["calls"] == Call.objects.count() == 80
    assert sums()["saved_input_tokens"] == 40 * 100
    assert HourlyStat.objects.count() == 2
    assert Entry.objects.get().hits == 40


def batches_of(writer: int) -> list[tuple[list[Any], list[Any]]]:
    """Batches whose calls and entries are those of all other writers too, each in another order."""
    chosen = random.Random(writer)
    made = []
    for _ in range(BATCHES):
        calls = [
            called("hit", n, at=HOUR + 3600 * (n % 3), latency=0.001 * 2 ** (n % 7))
            for n in chosen.choices(range(40), k=CALLS)
        ]
        entries = [stored(n, tags=[f"t{n % 5}", "all"]) for n in chosen.sample(range(60), 30)]
        made.append((calls, entries))
    return made


def test_four_writers_of_the_same_rows_all_end_and_lose_nothing(
    database: str, sums: Callable[[], dict[str, Any]]
) -> None:
    ledger.write([], [stored(n) for n in range(40)])

    def write(number: int) -> None:
        for calls, entries in batches_of(number):
            ledger.write(calls, entries, 0, str(uuid.uuid4()))

    in_threads(*[lambda number=number: write(number) for number in range(WRITERS)])
    total = WRITERS * BATCHES * CALLS
    assert sums()["calls"] == Call.objects.count() == total
    assert sum(Entry.objects.values_list("hits", flat=True)) == total
    assert Entry.objects.tagged("all").count() == EntryTag.objects.filter(name="all").count()


def test_writers_and_evictions_of_the_same_entries_all_end(
    database: str, sums: Callable[[], dict[str, Any]]
) -> None:
    ledger.write([], [stored(n) for n in range(40)])

    def write(number: int) -> None:
        for calls, entries in batches_of(number):
            ledger.write(calls, entries, 0, str(uuid.uuid4()))

    def evict() -> None:
        for number in range(BATCHES):
            maintenance.evict(tag=f"t{number}")
            maintenance.evict_entries(Entry.objects.order_by("-digest"))

    in_threads(lambda: write(1), lambda: write(2), evict)
    assert sums()["calls"] == 2 * BATCHES * CALLS
    maintenance.evict_entries(Entry.objects.all())
    assert not Entry.objects.exists()
    assert not EntryTag.objects.exists()


def test_a_batch_that_two_workers_have_got_at_once_counts_once(
    database: str, sums: Callable[[], dict[str, Any]]
) -> None:
    for _ in range(10):
        name = str(uuid.uuid4())
        write = lambda name=name: ledger.write([called(at=HOUR)], [], 0, name)  # noqa: E731
        in_threads(write, write)
    assert sums()["calls"] == Call.objects.count() == 10


def test_an_older_answer_that_is_written_later_does_not_replace_the_newer_one(
    database: str,
) -> None:
    ledger.write([], [stored(1, created=HOUR + 10, size=2, tags=["new"])])
    ledger.write([], [stored(1, created=HOUR, size=1, tags=["old"])])
    assert Entry.objects.get(digest=digest(1)).size == 2
    assert EntryTag.objects.get().name == "new"
    ledger.write([], [stored(1, created=HOUR, size=1)], restored=True)
    assert Entry.objects.get().size == 1
