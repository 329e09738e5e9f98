"""Records that cannot be delivered: what waits, what is counted, and that nobody tries for ever."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import override_settings

from llmcache.delivery import Batch, Delivery
from llmcache.models import HourlyStat

pytestmark = pytest.mark.django_db


def _refuse_hours(execute: Any, sql: str, *rest: Any) -> Any:
    if HourlyStat._meta.db_table in sql and not sql.startswith("SELECT"):
        raise ValueError("not a value that this database takes")
    return execute(sql, *rest)


def test_a_count_of_lost_records_that_cannot_be_written_waits_for_the_next_batch() -> None:
    delivery = Delivery()
    with connection.execute_wrapper(_refuse_hours):
        assert not delivery.deliver(Batch([], [], 3))
    assert (delivery.lost, delivery.waiting) == (3, None)
    assert delivery.deliver(Batch([], [], delivery.lost))
    assert HourlyStat.objects.lost().get().calls == 3


def test_a_site_without_time_zones_records_nothing_and_serves_its_calls() -> None:
    import llmcache
    from llmcache.recorder import recorder

    with override_settings(USE_TZ=False):
        question = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
        outcomes = [llmcache.completion(**question).cache.outcome for _ in range(2)]
        assert (outcomes, recorder.waiting) == (["miss", "hit"], 0)
