"""The dashboard: figures, charts and tables of a chosen time and part."""

from __future__ import annotations

from time import time
from typing import Any

import pytest
from django.test import Client

from llmcache import ledger
from llmcache.models import HourlyStat
from tests.admin.conftest import MODEL, address, words
from tests.ledger.records import called

pytestmark = pytest.mark.django_db
DAY = 86_400.0


def dashboard(client: Client, **query: str) -> Any:
    """The response of the page."""
    return client.get(address("hourlystat_changelist"), query)


def tiles(response: Any) -> dict[str, str]:
    """The large figures by name."""
    return {tile.name: tile.value for tile in response.context["tiles"]}


@pytest.fixture
def week() -> None:
    """Calls of now, of 3 and of 20 days ago."""
    now = time()
    ledger.write(
        [
            *(called("hit", caller="shop", latency=0.001) for _ in range(6)),
            *(called("miss", caller="search", latency=1.5, lookup_cost=0.00001) for _ in range(2)),
            called("bypass"),
            called("failed", noted=None),
            *(called("hit", at=now - 3 * DAY, namespace="help") for _ in range(1000)),
            called("miss", at=now - 20 * DAY, model="no-price"),
        ],
        [],
        lost=7,
    )


def test_the_tiles_add_up_the_chosen_time(admin_client: Client, week: None) -> None:
    day, seven, month = (tiles(dashboard(admin_client, days=days)) for days in ("1", "7", "30"))
    assert (day["Requests"], seven["Requests"], month["Requests"]) == ("10", "1,010", "1,011")
    assert day["Hit rate"] == "75 %"
    assert day["Lost records"] == "7"
    assert "Unpriced calls" not in day and month["Unpriced calls"] == "1"
    assert tiles(dashboard(admin_client, days="nonsense")) == day


def test_money_saved_is_net_and_names_what_lookups_cost(admin_client: Client, week: None) -> None:
    # 90 tokens at 0.15, 10 at 0.075 and 20 at 0.60 a million: 0.00002625 a call
    response = dashboard(admin_client)
    assert tiles(response)["Money saved"] == "0.000138"  # 6 hits less 2 lookups of 0.00001
    text = words(response.content.decode())
    assert "0.000158 saved by hits, 0.000020 spent on lookups" in text


def test_the_providers_own_cache_is_kept_apart(admin_client: Client, week: None) -> None:
    response = dashboard(admin_client)
    assert tiles(response)["Tokens saved"] == "720"
    text = words(response.content.decode())
    assert "60 of them the provider would have billed as cached" in text


@pytest.mark.parametrize(
    ("query", "requests"),
    [
        ({"caller": "shop"}, "6"),
        ({"namespace": "help"}, "1,000"),
        ({"model": "no-price", "days": "30"}, "1"),
        ({"alias": "default", "caller": "search"}, "2"),
    ],
)
def test_filters_narrow_all_of_it(
    query: dict[str, str], requests: str, admin_client: Client, week: None
) -> None:
    assert tiles(dashboard(admin_client, **{"days": "7", **query}))["Requests"] == requests


def test_a_filter_that_matches_nothing_keeps_the_form(admin_client: Client, week: None) -> None:
    response = dashboard(admin_client, model="<script>")
    assert 'value="&lt;script&gt;"' in response.content.decode()
    assert "No calls in this time" in words(response.content.decode())


def test_every_chart_has_a_name_a_description_and_its_numbers_beside_it(
    admin_client: Client, week: None
) -> None:
    response = dashboard(admin_client, days="7")
    page = response.content.decode()
    charts = response.context["charts"]
    assert [chart.title for chart, _table in charts] == [
        "Requests by outcome",
        "Hit rate",
        "Money",
        "Latency",
    ]
    for number, (chart, table) in enumerate(charts, 1):
        assert f'aria-labelledby="chart-{number}-title chart-{number}-desc"' in page
        assert chart.description in page
        assert table.rows and len(table.rows[0]) == len(table.head)
    latest = charts[0][1].rows[0]
    assert latest[1:] == ["6", "2", "1", "1"]
    assert page.count('role="img"') == 4


def test_latency_tells_hits_from_misses(admin_client: Client, week: None) -> None:
    _chart, table = dashboard(admin_client).context["charts"][3]
    assert table.head == ["Time", "hit p50", "hit p95", "miss p50", "miss p95"]
    (row,) = table.rows
    assert row[1].endswith(("µs", "ms")) and row[3].endswith("s") and row[3] != row[1]


def test_tables_by_store_model_namespace_and_caller(admin_client: Client, week: None) -> None:
    tables = {t.caption: t.rows for t in dashboard(admin_client, days="7").context["tables"]}
    assert [row[:2] for row in tables["By caller"]] == [
        ["–", "1,002"],
        ["shop", "6"],
        ["search", "2"],
    ]
    assert [row[:2] for row in tables["By model"]] == [[MODEL, "1,010"]]
    assert [row[0] for row in tables["By namespace"]] == ["help", "–"]


def test_days_are_bars_of_their_own_and_begin_at_midnight(admin_client: Client, week: None) -> None:
    chart, table = dashboard(admin_client, days="30").context["charts"][0]
    assert len(table.rows) == 3
    assert sum("hits 1,000" in bar.title for bar in chart.bars) == 1
    assert HourlyStat.objects.answered().count() > 3
