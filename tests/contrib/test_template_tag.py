"""`llmcache_stats` in templates, over the figures in the database."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.template import Context, Template, TemplateSyntaxError
from django.utils import timezone

import llmcache
from llmcache.models import HourlyStat
from llmcache.recorder import flush
from tests.contrib.views import question

pytestmark = pytest.mark.django_db


def render(text: str, **context: Any) -> str:
    return Template("{% load llmcache %}" + text).render(Context(context)).strip()


@pytest.fixture
def calls() -> Iterator[None]:
    """A miss and three hits, written down."""
    for _ in range(4):
        llmcache.completion(**question("why is that so"))
    flush()
    yield


@pytest.fixture
def broken() -> Iterator[None]:
    """The table of the figures is missing, as before the first `migrate`."""
    with connection.schema_editor() as editor:
        editor.execute("ALTER TABLE llmcache_hourlystat RENAME TO llmcache_elsewhere")
    yield
    with connection.schema_editor() as editor:
        editor.execute("ALTER TABLE llmcache_elsewhere RENAME TO llmcache_hourlystat")


def test_a_variable_has_the_figures(calls: None) -> None:
    text = render(
        "{% llmcache_stats as stats %}{{ stats.requests }} {{ stats.hits }} {{ stats.hit_rate }} "
        "{{ stats.saved_tokens }} {% if stats.saved_cost > 0 %}saved{% endif %} "
        "{% if stats.saved_seconds >= 0 %}sooner{% endif %}"
    )
    tokens = 3 * (4 + 6)
    assert text == f"4 3 0.75 {tokens} saved sooner"


def test_without_a_variable_a_list_is_shown(calls: None) -> None:
    text = render("{% llmcache_stats hours=48 %}")
    assert "The last 48 hours" in text and "3 (75 %)" in text
    assert text.count("<dt>") == text.count("<dd>") == 5


def test_no_calls_have_no_rate() -> None:
    text = render("{% llmcache_stats hours=1 %}")
    assert "The last hour" in text and "%" not in text


@pytest.fixture
def own_template(settings: Any, tmp_path: Path) -> None:
    """The site has a template of its own for the figures."""
    (tmp_path / "llmcache").mkdir()
    (tmp_path / "llmcache" / "stats.html").write_text("{{ alias }}{{ figures.hits }}")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]


def test_a_site_can_show_them_its_own_way(calls: None, own_template: None) -> None:
    assert render("{% llmcache_stats %}") == "default3"


def test_the_hours_and_the_alias_are_what_is_asked_for(calls: None) -> None:
    HourlyStat.objects.update(hour=timezone.now() - timedelta(hours=30))
    count = "{% llmcache_stats hours=h alias=a as stats %}{{ stats.requests }}"
    assert render(count, h=24, a="default") == "0"
    assert render(count, h=48, a="default") == "4"
    assert render(count, h=48, a="disk") == "0"
    assert render(count, h=48, a="") == "4"


def test_it_takes_one_query(calls: None, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(
        3
    ):  # a savepoint around the query, as tests are in a transaction
        render("{% llmcache_stats %}")


@pytest.mark.django_db(transaction=True)
def test_outside_of_a_transaction_it_takes_nothing_but_the_query(
    django_assert_num_queries: Any,
) -> None:
    with django_assert_num_queries(1):
        render("{% llmcache_stats %}")


@pytest.mark.django_db(transaction=True)
def test_a_database_that_fails_shows_nothing_and_is_logged(
    broken: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "llmcache"):
        assert render("a{% llmcache_stats %}b") == "ab"
        assert render("{% llmcache_stats as stats %}{{ stats }}") == "None"
    # Which error a missing table is depends on the database.
    assert re.search("figures cannot be shown: (Operational|Programming)Error", caplog.text)


async def test_on_the_thread_of_an_event_loop_it_shows_nothing_rather_than_raise() -> None:
    assert render("a{% llmcache_stats %}b") == "ab"


@pytest.mark.parametrize("hours", ["many", 0, -3, None, float("nan"), 1e300])
def test_hours_that_are_none_are_refused(hours: object) -> None:
    with pytest.raises(TemplateSyntaxError, match="hours must be a number above 0"):
        render("{% llmcache_stats hours=hours %}", hours=hours)


@pytest.mark.parametrize("written", ["days=3", "24", "hours=24 as", "hours=24 stats"])
def test_a_tag_written_wrongly_says_how_it_is_written(written: str) -> None:
    with pytest.raises(TemplateSyntaxError, match="llmcache_stats hours=24 alias"):
        render(f"{{% llmcache_stats {written} %}}")


def test_what_is_asked_for_is_escaped(own_template: None) -> None:
    assert render("{% llmcache_stats alias=a %}", a="<b>") == "&lt;b&gt;0"
