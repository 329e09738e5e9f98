"""`llmcache_stats` tells what the cache did and saved."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from llmcache.models import HourlyStat

pytestmark = pytest.mark.django_db


@pytest.fixture
def figures() -> None:
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    common = {"hour": now, "alias": "default", "kind": "completion"}
    HourlyStat.objects.create(
        **common, model="small", outcome="hit", calls=3000, saved_input_tokens=12_000,
        saved_cost=1.5, lookup_cost=0.25, saved_seconds=7500, seconds=3,
    )  # fmt: skip
    HourlyStat.objects.create(
        **common, model="large", outcome="miss", calls=1000, input_tokens=700, cost=2, unpriced=4
    )
    HourlyStat.objects.create(hour=now, outcome="lost", calls=5)
    old = {**common, "hour": now - timedelta(days=20)}
    HourlyStat.objects.create(**old, model="small", outcome="hit", calls=50)


def test_the_table_tells_hits_and_what_they_saved(run: Any, figures: None) -> None:
    lines = dict(line.split("  ", 1) for line in run("stats").out.splitlines() if "  " in line)
    facts = {name.strip(): text.strip() for name, text in lines.items()}
    assert facts["requests"] == "4,000"
    assert facts["hits"] == "3,000 (75.0% of those that asked the cache)"
    assert facts["tokens saved"] == "12,000"
    assert facts["money saved"] == "1.2500"
    assert facts["time saved"] == "2.1 h"
    assert facts["without a price"] == "4 calls; their money is not counted"
    assert facts["lost records"].startswith("5; raise BUFFER_SIZE")


def test_json_holds_the_same_figures_by_group_too(run: Any, figures: None) -> None:
    said = json.loads(run("stats", "--json", "--by", "model").out)
    assert said["requests"] == 4000
    assert said["hit_rate"] == 0.75
    assert said["by"]["large"]["misses"] == 1000
    assert set(said["latencies"]) == {"hit_p50", "hit_p95", "miss_p50", "miss_p95"}


def test_groups_are_rows_of_a_table(run: Any, figures: None) -> None:
    *_, head, small, large = run("stats", "--by", "model").out.splitlines()
    assert head.split()[:3] == ["model", "requests", "hits"]
    assert small.split()[:4] == ["small", "3,000", "3,000", "100.0%"]
    assert large.split()[:4] == ["large", "1,000", "0", "0.0%"]


def test_days_and_filters_select(run: Any, figures: None) -> None:
    assert json.loads(run("stats", "--json", "--days", "30").out)["requests"] == 4050
    assert json.loads(run("stats", "--json", "--model", "large").out)["requests"] == 1000
    assert json.loads(run("stats", "--json", "--alias", "other").out)["requests"] == 0


def test_no_calls_are_said_to_be_none(run: Any) -> None:
    assert run("stats").out == "No calls are recorded for this time.\n"


@pytest.mark.parametrize("wrong", [["--days", "0"], ["--days", "nan"], ["--limit", "0"]])
def test_a_wrong_number_is_wrong_usage(run: Any, wrong: list[str]) -> None:
    assert run("stats", *wrong).code == 2


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.25, "250.0 ms"), (90, "90.0 s"), (600, "10.0 min"), (9000, "2.5 h")]
)
def test_time_is_told_in_words_of_its_size(run: Any, seconds: float, said: str) -> None:
    HourlyStat.objects.create(
        hour=timezone.now(), outcome="hit", alias="default", calls=1, saved_seconds=seconds
    )
    assert f"time saved           {said}\n" in run("stats").out
