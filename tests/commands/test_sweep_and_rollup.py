"""`llmcache_sweep` deletes what has expired, `llmcache_rollup` thins old figures out."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from llmcache import backends
from llmcache.models import Call, Entry, HourlyStat

pytestmark = pytest.mark.django_db


@pytest.fixture
def expired() -> None:
    old = timezone.now() - timedelta(days=40)
    for number in range(3):
        Entry.objects.create(
            alias="default", digest=f"{number:064x}", size=1, created=old, kept_until=old
        )
        Call.objects.create(created=old, outcome="miss", kind="completion", model="m", latency=1)
    Call.objects.create(
        created=timezone.now(), outcome="miss", kind="completion", model="m", latency=1
    )


def test_a_sweep_deletes_what_has_expired_and_no_more(run: Any, expired: None) -> None:
    assert (
        run("sweep", "--limit", "2").out == "Deleted 3 rows of the index and 3 rows of the logs.\n"
    )
    assert (Entry.objects.count(), Call.objects.count()) == (0, 1)


def test_a_dry_run_of_a_sweep_deletes_nothing(run: Any, expired: None) -> None:
    done = run("sweep", "--dry-run")
    assert done.out == "Would delete 3 rows of the index and 3 rows of the logs.\n"
    assert (Entry.objects.count(), Call.objects.count()) == (3, 4)


def test_a_sweep_empties_a_store_of_what_it_would_keep(run: Any, site: Path) -> None:
    store = backends.stores["default"]
    store.set("b" * 64, b"x", 600)
    store.set("a" * 64, b"x", 0.001)  # last: a store may tidy up whenever it is written to
    time.sleep(0.01)
    assert "default: 1 entry deleted" in run("sweep").out
    assert list(store.iterate()) == ["b" * 64]


def test_a_store_that_fails_is_named_and_the_rest_is_swept(
    run: Any, site: Path, expired: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(limit: int) -> int:
        raise OSError("disk on fire")

    monkeypatch.setattr(backends.stores["default"], "sweep", fail)
    done = run("sweep")
    assert done.code == 1
    assert "default: OSError: disk on fire" in done.err
    assert not Entry.objects.exists()


@pytest.mark.parametrize("wrong", [["--limit", "0"], ["--alias", "defualt"]])
def test_wrong_usage_of_a_sweep_is_told(run: Any, wrong: list[str]) -> None:
    assert run("sweep", *wrong).code == 2


@pytest.fixture
def old_hours() -> None:
    day = (timezone.now() - timedelta(days=60)).replace(minute=0, second=0, microsecond=0)
    for hour in (3, 4, 5):
        HourlyStat.objects.create(hour=day.replace(hour=hour), outcome="miss", calls=hour)


def test_a_rollup_makes_a_day_of_hours_and_keeps_the_sum(run: Any, old_hours: None) -> None:
    assert run("rollup").out == "Spared 2 rows.\n"
    assert HourlyStat.objects.get().calls == 12
    assert run("rollup").out == "Spared 0 rows.\n"


def test_a_dry_run_of_a_rollup_changes_nothing(run: Any, old_hours: None) -> None:
    assert run("rollup", "--dry-run").out == "Would spare 2 rows.\n"
    assert HourlyStat.objects.count() == 3
