"""Old figures of hours become figures of days, and nothing is lost on the way."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from django.test import override_settings
from django.utils import timezone

from llmcache import stats
from llmcache.models import HourlyStat
from llmcache.rollup import roll_up

pytestmark = pytest.mark.django_db


def midnight(days_ago: int) -> datetime:
    today = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days_ago)


def hours(days_ago: int, number: int = 24, **values: object) -> None:
    start = midnight(days_ago)
    for hour in range(number):
        for outcome, speed in (("hit", 12), ("hit", 13), ("miss", 40)):
            given: dict[str, object] = {
                "alias": "default",
                "model": "m",
                "outcome": outcome,
                "speed": speed,
                "calls": hour + 1,
                "saved_input_tokens": 10,
                "saved_cost": 0.25,
                "seconds": 0.5,
            }
            HourlyStat.objects.create(hour=start + timedelta(hours=hour), **{**given, **values})


def test_hours_older_than_the_retention_become_one_row_a_day_with_the_same_sums() -> None:
    hours(40)
    rows = stats.selected(midnight(60))
    before = (stats.summary(rows), stats.latencies(rows), stats.by(rows, "outcome"))
    assert roll_up() == 72 - 3
    assert set(HourlyStat.objects.values_list("hour", flat=True)) == {midnight(40)}
    assert (stats.summary(rows), stats.latencies(rows), stats.by(rows, "outcome")) == before
    assert before[0].hits == 2 * 300 and before[0].saved_cost == 12 * 1.5


def test_a_second_run_finds_nothing_to_do() -> None:
    hours(40)
    roll_up()
    assert roll_up() == 0


def test_younger_hours_stay_hours() -> None:
    hours(29)
    assert roll_up() == 0
    assert HourlyStat.objects.count() == 72


def test_the_retention_is_the_settings() -> None:
    hours(5)
    with override_settings(LLMCACHE_CONFIG={"RETENTION_DAYS": 3}):
        assert roll_up() == 69


def test_hours_that_come_late_are_added_to_their_day() -> None:
    hours(40)
    roll_up()
    late = midnight(40) + timedelta(hours=7)
    HourlyStat.objects.create(
        hour=late, alias="default", model="m", outcome="hit", speed=12, calls=5
    )
    assert roll_up() == 1
    assert HourlyStat.objects.count() == 3
    assert stats.summary(stats.selected(midnight(60))).hits == 600 + 5


def test_models_and_callers_are_kept_apart() -> None:
    hours(40, number=2, caller="search")
    hours(40, number=2, model="n")
    roll_up()
    rows = stats.selected(midnight(60))
    assert {name: found.hits for name, found in stats.by(rows, "model")} == {"m": 6, "n": 6}
    assert HourlyStat.objects.count() == 6


def test_a_day_with_many_rows_is_not_held_in_memory() -> None:
    HourlyStat.objects.bulk_create(
        HourlyStat(hour=midnight(40) + timedelta(hours=hour), namespace=f"n{n}", outcome="hit")
        for hour in range(24)
        for n in range(300)
    )
    tracemalloc.start()
    try:
        assert roll_up() == 23 * 300
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 7200 * 600  # bytes; a row as an object takes some 1,500
