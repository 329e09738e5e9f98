"""Every page opens, empty and full, in few queries, and leads to all others."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from llmcache.models import Call, Eviction
from tests.admin.conftest import Ask, Person, address, words

PAGES = (
    "hourlystat_changelist",
    "entry_changelist",
    "call_changelist",
    "eviction_changelist",
    "explain",
    "aliases",
    "matchedpair_changelist",
    "virtualkey_changelist",
)
NAMES = (
    *("Dashboard", "Entries", "Calls", "Explain", "Stores", "Similar pairs", "Virtual keys"),
    "Evictions",
)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_an_empty_site_and_leads_to_all_others(
    name: str, admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(9):
        response = admin_client.get(address(name))
    assert response.status_code == 200
    page = response.content.decode()
    navigation = page.partition('<nav class="llmcache-nav"')[2].partition("</nav>")[0]
    assert [f">{other}</a>" in navigation for other in NAMES] == [True] * len(NAMES)
    assert navigation.count('aria-current="page"') == 1 and page.count("<h1>") == 1
    assert "<script>" not in page and "style=" not in page


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_a_site_in_use_in_few_queries(
    name: str,
    admin_client: Client,
    person: Person,
    ask: Ask,
    django_assert_max_num_queries: Any,
) -> None:
    for number in range(30):
        entry = ask(f"question {number % 20}", cache={"namespace": f"n{number % 3}"})
    admin_client.post(address("entry_evict", entry.pk))
    names = ("entry", "call", "eviction", "hourlystat", "matchedpair", "virtualkey", "payload")
    client = person(*(f"view_{name}" for name in names))
    with django_assert_max_num_queries(9):
        response = client.get(address(name))
    assert response.status_code == 200


def test_a_page_of_each_row_opens_in_few_queries(
    admin_client: Client, ask: Ask, django_assert_max_num_queries: Any
) -> None:
    entry = ask()
    admin_client.post(address("entry_evict", ask("another").pk))
    for name, row in (
        ("entry", entry),
        ("call", Call.objects.first()),
        ("eviction", Eviction.objects.operations().get()),
    ):
        assert row is not None
        with django_assert_max_num_queries(9):
            response = admin_client.get(address(f"{name}_change", row.pk))
        assert response.status_code == 200
        assert "Dashboard" in response.content.decode()


def test_the_apps_index_leads_to_all_pages(admin_client: Client) -> None:
    page = admin_client.get("/admin/llmcache/").content.decode()
    for name in PAGES:
        assert f'href="{address(name)}"' in page


def test_an_empty_dashboard_says_what_to_do(admin_client: Client) -> None:
    text = words(admin_client.get(address("hourlystat_changelist")).content.decode())
    assert "No calls in this time" in text and "llmcache.completion(" in text


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("query", ["", "?alias=default&state=live", "?q=0123456789abcdef"])
def test_no_page_counts_a_whole_table_or_reads_prompts_for_a_list(
    name: str, query: str, admin_client: Client, ask: Ask
) -> None:
    ask()
    with CaptureQueriesContext(connection) as captured:
        admin_client.get(address(name) + query)
    asked = [query["sql"] for query in captured]
    rows = [
        sql for sql in asked if re.search(r'FROM "llmcache_(entry|call|eviction|matchedpair)"', sql)
    ]
    assert all("LIMIT" in sql for sql in rows if "COUNT(" in sql)
    assert not any(sql.startswith('SELECT DISTINCT "llmcache_entry"') for sql in rows)
    assert not any('"llmcache_entry"."material"' in sql for sql in rows)
