"""The dashboard's questions, on every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from llmcache import ledger, stats
from tests.ledger.records import called

START = datetime(2026, 3, 4, 22, tzinfo=UTC)
END = START + timedelta(hours=30)


@pytest.fixture(autouse=True)
def calls(database: str) -> None:
    """A hit in each of 30 hours, a miss in every second and a failure in the last."""
    moments = [(START + timedelta(hours=h, minutes=59)).timestamp() for h in range(30)]
    hits = [called("hit", at=at, namespace="shop", latency=0.001) for at in moments]
    misses = [called("miss", at=at, caller="search", latency=2.0) for at in moments[::2]]
    others = [called("failed", at=moments[-1], noted=None), called("bypass", at=moments[-1])]
    ledger.write([*hits, *misses, *others], [])


def test_a_summary_adds_all_up() -> None:
    found = stats.summary(stats.selected(START, END))
    assert (found.requests, found.hits, found.misses) == (47, 30, 15)
    assert (found.failures, found.bypasses) == (1, 1)
    assert found.hit_rate == pytest.approx(2 / 3)
    assert found.saved_tokens == 30 * 120
    assert found.tokens == 16 * 120
    assert found.saved_cost == pytest.approx(found.cost * 30 / 16)
    assert found.saved_seconds == pytest.approx(30 * 1.999)


def test_a_summary_of_nothing_is_zero() -> None:
    found = stats.summary(stats.selected(END + timedelta(days=1), END + timedelta(days=2)))
    assert (found.requests, found.cost, found.hit_rate) == (0, 0.0, None)


def test_hours_and_days_come_in_order_with_none_left_out() -> None:
    rows = stats.selected(START, END)
    hours = stats.over_time(rows, START, END)
    assert [moment for moment, _ in hours] == [START + timedelta(hours=h) for h in range(30)]
    assert [found.misses for _, found in hours] == [1, 0] * 15
    days = stats.over_time(rows, START, END, by_day=True)
    assert [(moment.day, found.hits) for moment, found in days] == [(4, 2), (5, 24), (6, 4)]


def test_days_are_added_up_by_the_database(database: str) -> None:
    rows = stats.selected(START, END)
    connection = connections[database]
    with CaptureQueriesContext(connection) as captured:
        stats.over_time(rows, START, END, by_day=True)
        stats.speeds(rows, by_day=True)
    with connection.cursor() as cursor:
        found = []
        for query in captured:
            cursor.execute(query["sql"])
            found.append(len(cursor.fetchall()))
    days, outcomes = 3, 2
    assert found == [days, days * outcomes]


def test_groups_come_with_the_largest_first() -> None:
    rows = stats.selected(START, END)
    assert [(name, found.requests) for name, found in stats.by(rows, "namespace")] == [
        ("shop", 30),
        ("", 17),
    ]
    assert [name for name, _ in stats.by(rows, "outcome", limit=2)] == ["hit", "miss"]
    assert stats.summary(stats.selected(START, END, caller="search")).requests == 15


def test_percentiles_are_of_hits_and_of_misses() -> None:
    found = stats.latencies(stats.selected(START, END))
    assert found.hit_p50 is not None and 0.0007 < found.hit_p50 <= 0.0011
    assert found.miss_p95 is not None and 1.4 < found.miss_p95 <= 2.9
    by_day = stats.speeds(stats.selected(START, END), by_day=True)
    midnight = datetime(2026, 3, 5, tzinfo=UTC)
    assert sum(by_day[midnight, "hit"].values()) == 24
