"""Whatever is sent to a page of the admin: it answers, reflects no markup, changes nothing by GET,
and is closed to those without its permission."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmcache import backends
from llmcache.models import Call, Entry, Eviction, HourlyStat, MatchedPair, VirtualKey
from tests.admin.conftest import Ask, Person

MARKUP = '"><script>alert(1)</script>'
TABLES = (Call, Entry, Eviction, HourlyStat, MatchedPair, VirtualKey)
FINE = {200, 302, 400, 403, 404, 405}


def patterns() -> Iterator[tuple[str, str]]:
    """The routes of our pages, below the admin's own, with their names."""
    for part in admin.site.get_urls():
        if str(part.pattern).startswith("llmcache/"):
            for page in part.url_patterns:
                yield f"{part.pattern}{page.pattern}", str(getattr(page, "name", "") or "")


ROUTES = sorted(dict(patterns()))
ANYTHING = st.one_of(
    st.text(max_size=20),
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from([MARKUP, "1", "0", "", "all", "on", "%00", "\x00", "2026-13-45", "null", "[]"]),
)
NAMES = st.sampled_from(
    [
        *(
            "q",
            "o",
            "p",
            "e",
            "page",
            "days",
            "hours",
            "alias",
            "model",
            "model__exact",
            "namespace",
        ),
        *("outcome__exact", "scope", "tag", "created__gte", "created__year", "pinned__exact"),
        *("kind__exact", "caller", "request", "threshold", "digest", "action", "_selected_action"),
        *(
            "select_across",
            "index",
            "ttl",
            "same",
            "confirm",
            "name",
            "post",
            "_popup",
            "_to_field",
        ),
    ]
)
FIELDS = st.dictionaries(NAMES | st.text(max_size=8), ANYTHING | st.lists(ANYTHING, max_size=3))
EXAMPLES = settings(
    max_examples=4,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def filled(route: str, pk: object) -> str:
    return "/admin/" + route.replace("<int:pk>", str(pk)).replace("<path:object_id>", str(pk))


@pytest.fixture
def full(ask: Ask, db: None) -> Entry:
    """A site in use."""
    entry = ask("hello", cache={"tags": ["t"], "namespace": "n", "scope": "s"})
    VirtualKey.objects.create(name="k", digest="d")
    Eviction.objects.create(what="tag", value="t")
    return entry


def state() -> object:
    """All that a page could change."""
    entry = Entry.objects.first()
    rows = [list(table.objects.order_by("pk").values()) for table in TABLES]
    return rows, None if entry is None else backends.stores[entry.alias].get(entry.digest)


@pytest.mark.parametrize("route", ROUTES)
def test_a_get_with_anything_in_it_answers_and_changes_nothing(
    route: str, admin_client: Client, full: Entry
) -> None:
    admin_client.raise_request_exception = True
    before = state()

    @EXAMPLES
    @given(fields=FIELDS, pk=st.one_of(st.just(str(full.pk)), ANYTHING))
    def send(fields: dict[str, Any], pk: str) -> None:
        path = filled(
            route, full.pk if "<int:pk>" in route else pk.replace("?", "").replace("#", "")
        )
        response = admin_client.get(path, {**fields, "more": MARKUP})
        assert response.status_code in FINE, (path, fields)
        if not response.streaming:
            assert MARKUP.encode() not in response.content

    send()
    assert state() == before


@pytest.mark.parametrize("route", [route for route in ROUTES if "virtualkey/add" not in route])
def test_a_post_with_anything_in_it_answers(route: str, admin_client: Client, full: Entry) -> None:
    admin_client.raise_request_exception = True

    @EXAMPLES
    @given(fields=FIELDS)
    @example(fields={"_to_field": ""})
    def send(fields: dict[str, Any]) -> None:
        response = admin_client.post(filled(route, full.pk), {**fields, "more": MARKUP})
        assert response.status_code in FINE, fields
        if not response.streaming:
            assert MARKUP.encode() not in response.content

    send()


@pytest.mark.parametrize("route", ROUTES)
def test_no_page_is_open_without_permission(
    route: str, client: Client, person: Person, full: Entry
) -> None:
    path = filled(route, full.pk)
    before = state()
    for sender in (client, person()):
        for response in (sender.get(path), sender.post(path, {"confirm": "1", "ttl": "1"})):
            assert response.status_code in (302, 403, 404, 405), path
            if response.status_code == 302 and sender is not client:
                # Django's own redirect of the bare address of an object, and nothing more.
                assert response["Location"].startswith((path, "/admin/")), path
    assert state() == before


def test_no_single_permission_opens_what_changes_or_shows_answers(
    person: Person, full: Entry
) -> None:
    changing = ("evict/", "pin/", "ttl/", "again/", "clear/", "decide/", "delete/", "add/")
    needed = {
        *("evict_entry", "delete_entry", "clear_cache", "change_entry", "add_virtualkey"),
        *("change_virtualkey", "delete_virtualkey", "change_matchedpair", "delete_call"),
        *("delete_eviction", "delete_hourlystat", "delete_matchedpair", "add_entry", "add_call"),
        *("add_eviction", "add_hourlystat", "add_matchedpair", "change_call", "change_eviction"),
        *("change_hourlystat", "replay_entry"),
    }
    known = Permission.objects.filter(content_type__app_label="llmcache")
    for codename in sorted(set(known.values_list("codename", flat=True)) - needed):
        sender, before = person(codename), state()
        for route in ROUTES:
            if route.endswith(changing):
                response = sender.post(filled(route, full.pk), {"confirm": "1", "ttl": "1"})
                assert response.status_code in (302, 403, 404, 405), (codename, route)
            if route.endswith("answer/") and codename != "view_payload":
                answer = sender.post(filled(route, full.pk))
                assert answer.status_code in (302, 403, 404), (codename, route)
        assert state() == before, codename
