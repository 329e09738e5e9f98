"""The logs of calls and of evictions."""

from __future__ import annotations

from time import time
from typing import Any

import pytest
from django.test import Client

import llmcache
from llmcache import ledger
from llmcache.models import Call, Eviction
from tests.admin.conftest import MODEL, Ask, address, words
from tests.ledger.records import called


def found(client: Client, **query: str) -> list[str]:
    """The callers that the list of calls shows, in alphabetical order."""
    shown = client.get(address("call_changelist"), query).context["cl"].result_list
    return sorted(call.caller for call in shown)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["now", "other", "two hours", "two weeks"]),
        ({"since": "hour"}, ["now", "other"]),
        ({"since": "day"}, ["now", "other", "two hours"]),
        ({"since": "week", "outcome": "miss"}, ["two hours"]),
        ({"model": "other-model"}, ["other"]),
        ({"alias": "disk"}, ["other"]),
        ({"outcome": "failed"}, []),
    ],
)
def test_filters(query: dict[str, str], expected: list[str], admin_client: Client) -> None:
    now = time()
    ledger.write(
        [
            called(caller="now"),
            called(caller="other", model="other-model", alias="disk"),
            called("miss", caller="two hours", at=now - 7200),
            called("miss", caller="two weeks", at=now - 14 * 86400),
        ],
        [],
    )
    assert found(admin_client, **query) == expected


def test_a_call_leads_to_its_entry(admin_client: Client, ask: Ask) -> None:
    entry = ask()
    page = admin_client.get(address("call_changelist")).content.decode()
    link = f"{address('entry_changelist')}?q={entry.digest}"
    assert f'href="{link}"' in page
    assert list(admin_client.get(link).context["cl"].result_list) == [entry]
    assert found(admin_client, q=entry.digest) == [""]


def test_a_calls_page_tells_all_of_it(admin_client: Client, ask: Ask) -> None:
    ask(cache={"caller": "shop", "namespace": "help"})
    call = Call.objects.get()
    text = words(admin_client.get(address("call_change", call.pk)).content.decode())
    for part in ("miss", "shop", "help", MODEL, "completion", "default"):
        assert part in text


@pytest.mark.parametrize("name", ["call", "eviction", "hourlystat", "entry"])
def test_no_row_can_be_added_changed_or_deleted(name: str, admin_client: Client, ask: Ask) -> None:
    entry = ask()
    llmcache.evict(tag="none")
    rows: dict[str, Any] = {"call": Call, "eviction": Eviction}
    row = rows[name].objects.first() if name in rows else entry
    base = f"/admin/llmcache/{name}/"
    codes = [admin_client.post(base + "add/").status_code]
    codes.append(admin_client.post(f"{base}{row.pk}/delete/", {"post": "yes"}).status_code)
    assert set(codes) == {403}
    assert "delete_selected" not in admin_client.get(base).content.decode()


def test_the_evictions_are_operations_with_their_batches_inside(
    admin_client: Client, ask: Ask
) -> None:
    for number in range(3):
        ask(f"question {number}", cache={"tags": ["product:7"]})
    llmcache.evict(tag="product:7", reason="a wrong price", by="night job")
    operation = Eviction.objects.operations().get()
    response = admin_client.get(address("eviction_changelist"))
    assert list(response.context["cl"].result_list) == [operation]
    for part in ("product:7", "a wrong price", "night job", "tag"):
        assert part in words(response.content.decode())
    page = admin_client.get(address("eviction_change", operation.pk))
    assert "default: 3" in words(page.content.decode())
