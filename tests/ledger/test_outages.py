"""Databases that are locked, away, restarted or not migrated: calls go on, and rows arrive once."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections

import llmcache
from llmcache import maintenance
from llmcache.delivery import Batch, Delivery
from llmcache.models import Call, Entry, HourlyStat, RecordBatch
from llmcache.recorder import recorder
from tests.ledger.databases import in_threads
from tests.ledger.processes import Site, ending, sqlite_site
from tests.ledger.records import called, stored
from tests.servers.postgres import OwnServer

STEPS = """
    say(ask("one"))
    while (word := heard()) != "end":
        if word == "calls":
            began = time.perf_counter()
            for n in range(100): ask("one")
            say([time.perf_counter() - began, recorder.waiting])
        elif word == "flushed":
            recorder.flush()
            say(recorder.waiting)
"""


def test_a_locked_database_delays_rows_and_no_caller(tmp_path: Path) -> None:
    site = sqlite_site(tmp_path)
    site.databases["default"]["OPTIONS"] = {"timeout": 0.1}
    process = site.start(STEPS)
    other = sqlite3.connect(tmp_path / "site.sqlite3", isolation_level=None)
    with ending(process):
        assert process.hear() == "miss"
        other.execute("BEGIN EXCLUSIVE")
        waited = []
        for _ in range(5):
            process.tell("calls")
            waited.append(process.hear())
        assert waited[-1][1] >= 500  # while the lock is held, all wait
        other.execute("ROLLBACK")
        process.tell("end")
        process.end()
    found = site.counts()
    assert (found["calls"], found["counted"], found["lost"]) == (501, 501, 0)


def test_a_database_that_was_never_migrated_costs_one_warning(tmp_path: Path) -> None:
    site = Site({"default": {**sqlite_file(tmp_path)}})
    process = site.start(STEPS)
    with ending(process):
        process.hear()
        for _ in range(3):
            process.tell("calls")
            process.hear()
            process.tell("flushed")
            assert process.hear() > 0
        process.tell("end")
        process.end()
    assert process.errors.count("is it migrated?") == 1
    assert "301 records could not be written" in process.errors or "302" in process.errors


def test_rows_arrive_once_the_database_is_migrated(tmp_path: Path) -> None:
    site = Site({"default": sqlite_file(tmp_path)})
    process = site.start(STEPS)
    with ending(process):
        process.hear()
        for _ in range(5):  # as often as makes a batch suspect
            process.tell("flushed")
            assert process.hear() == 2
        site.migrate()
        process.tell("end")
        process.end()
    assert site.counts() == {"calls": 1, "different": 1, "entries": 1, "counted": 1, "lost": 0}


def sqlite_file(directory: Path) -> dict[str, Any]:
    name = str(directory / "site.sqlite3")
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": name}


# --- a server that is stopped and started again ---


def test_rows_arrive_after_a_restart_of_the_server_and_none_twice(own_postgres: OwnServer) -> None:
    site = Site({"default": own_postgres.settings})
    site.migrate()
    process = site.start(STEPS)
    with ending(process):
        process.hear()
        site.until(lambda found: found["calls"] == 1)  # its connection is open
        process.tell("calls")
        process.hear()
        own_postgres.stop()
        for _ in range(3):
            process.tell("calls")
            process.hear()
            process.tell("flushed")
            assert process.hear() >= 100
        own_postgres.start()
        process.tell("end")
        process.end()
    assert site.counts() == {
        "calls": 401,
        "different": 401,
        "entries": 1,
        "counted": 401,
        "lost": 0,
    }


def test_rows_arrive_after_a_restart_without_a_word_from_anybody(own_postgres: OwnServer) -> None:
    site = Site({"default": own_postgres.settings})
    site.migrate()
    process = site.start(STEPS)
    with ending(process):
        process.hear()
        site.until(lambda found: found["calls"] == 1)
        own_postgres.stop()
        process.tell("calls")
        process.hear()
        own_postgres.start()
        assert site.until(lambda found: found["calls"] == 101)["different"] == 101


# --- one batch and its troubles, on every database ---


@pytest.fixture
def delivery() -> Delivery:
    return Delivery()


def counted() -> int:
    """All calls in the figures."""
    return sum(HourlyStat.objects.values_list("calls", flat=True))


def test_a_commit_whose_answer_is_lost_counts_once(
    database: str, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection: Any = connections[database]
    commit = connection.commit

    def commit_and_break() -> None:
        commit()
        monkeypatch.undo()
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(connection, "commit", commit_and_break)
    batch = Batch([called("hit", 1)], [stored(1)])
    assert not delivery.deliver(batch)
    assert delivery.waiting is batch
    assert delivery.deliver(batch)
    assert (Call.objects.count(), counted(), Entry.objects.get().hits) == (1, 1, 1)


def test_an_eviction_that_could_not_be_read_is_still_obeyed_and_nothing_counts_twice(
    database: str, delivery: Delivery
) -> None:
    maintenance.evict(tag="t")
    batch = Batch([called("miss", 1)], [stored(1, tags=["t"], seconds=60.0)])

    def no_evictions(execute: Any, sql: Any, *rest: Any) -> Any:
        if "llmcache_eviction" in str(sql):
            raise OperationalError("gone")
        return execute(sql, *rest)

    with connections[database].execute_wrapper(no_evictions):
        assert not delivery.deliver(batch)
    assert Entry.objects.exists()
    assert delivery.deliver(batch)
    assert not Entry.objects.exists()
    assert (Call.objects.count(), counted()) == (1, 1)


BROKEN = {
    "no latency": {"latency": None},
    "a header of another shape": {"noted": {"usage": {"bogus": 1}}},
    "not even a time": {"at": "yesterday"},
}


@pytest.mark.parametrize("trouble", BROKEN)
def test_a_record_that_cannot_be_written_costs_none_of_the_others(
    database: str, delivery: Delivery, trouble: str
) -> None:
    calls = [called("hit", n % 3) for n in range(100)]
    calls[37] = called(**BROKEN[trouble])
    assert delivery.deliver(Batch(calls, [stored(n) for n in range(3)], lost=5))
    assert (Call.objects.count(), counted(), delivery.lost) == (99, 99, 6)
    assert sum(Entry.objects.values_list("hits", flat=True)) == 99


def test_a_record_that_the_database_refuses_again_and_again_holds_up_no_others(
    database: str, delivery: Delivery
) -> None:
    calls = [called("hit", n % 3) for n in range(20)]
    calls[7] = called(reason="unspeakable")

    def refuse(execute: Any, sql: Any, params: Any, *rest: Any) -> Any:
        if "llmcache_call" in str(sql) and "unspeakable" in str(params):
            raise OperationalError("incorrect string value")
        return execute(sql, params, *rest)

    batch = Batch(calls, [])
    with connections[database].execute_wrapper(refuse):
        tries = [delivery.deliver(batch) for _ in range(3)]
    assert tries == [False, False, True]
    assert (Call.objects.count(), counted(), delivery.lost) == (19, 19, 1)


def test_a_database_that_goes_away_while_a_batch_is_halved_gets_the_rest_later(
    database: str, delivery: Delivery
) -> None:
    calls = [called("hit", n) for n in range(16)]
    calls[0] = called(latency=None)
    written = []

    def away_after_some(execute: Any, sql: Any, *rest: Any) -> Any:
        if "INSERT" in str(sql) and "llmcache_hourlystat" in str(sql):
            written.append(sql)
        if len(written) > 2:
            raise OperationalError("gone")
        return execute(sql, *rest)

    with connections[database].execute_wrapper(away_after_some):
        assert not delivery.deliver(Batch(calls, []))
    assert 0 < Call.objects.count() < 15
    assert delivery.waiting is not None
    assert delivery.deliver(delivery.waiting)
    assert (Call.objects.count(), counted(), delivery.lost) == (15, 15, 1)


def test_a_batch_is_remembered_only_until_the_next(database: str, delivery: Delivery) -> None:
    for _ in range(3):
        delivery.deliver(Batch([called()], []))
    assert RecordBatch.objects.count() == 1


ENDING = {
    "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend(%s)"),
    "mysql": ("SELECT connection_id()", "KILL %s"),
}


def test_a_connection_that_the_server_has_closed_loses_nothing(
    database: str, delivery: Delivery
) -> None:
    connection: Any = connections[database]
    if connection.vendor not in ENDING:
        return  # no server
    asking, ending = ENDING[connection.vendor]

    def run(sql: str, *values: Any) -> Any:
        with connections[database].cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchone() if cursor.description else None

    name = run(asking)[0]
    in_threads(lambda: run(ending, name))
    batch = Batch([called()], [])
    assert not delivery.deliver(batch)
    connection.close_if_unusable_or_obsolete()
    assert delivery.deliver(batch)
    assert (Call.objects.count(), counted()) == (1, 1)


# --- tests of a site, which may not reach a database ---


def test_records_wait_where_a_test_may_use_no_database(counted: Any) -> None:
    ask = {"model": "m", "messages": [{"role": "user", "content": "no database"}]}
    for _ in range(5):
        assert llmcache.completion(**ask).cache.outcome in ("miss", "hit")
        assert recorder.flush() is False
    assert recorder.waiting == 6
    assert counted("flush_error") == 5


@pytest.mark.django_db
def test_and_are_written_in_the_transaction_of_one_that_may() -> None:
    llmcache.completion("m", messages=[{"role": "user", "content": "in a test"}])
    assert recorder.flush() is True
    assert Call.objects.count() == 1
