"""The list of entries: what it finds, and evicting many at once."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

import llmcache
from llmcache.admin import entries, paging
from llmcache.backends import stores
from llmcache.models import Entry, Eviction
from tests.admin.conftest import MODEL, Ask, Person, address, words

LIST = "entry_changelist"


def found(client: Client, **query: str) -> set[str]:
    """The digests that the list shows."""
    return {entry.digest for entry in client.get(address(LIST), query).context["cl"].result_list}


def test_the_list_shows_what_is_known_of_each_entry(admin_client: Client, ask: Ask) -> None:
    entry = ask("Which bread is dark?")
    ask("Which bread is dark?")
    text = words(admin_client.get(address(LIST)).content.decode())
    entry.refresh_from_db()
    for part in (entry.digest[:12], "Which bread is dark?", MODEL, "completion", "default"):
        assert part in text
    assert entry.hits == 1 and f"{entry.size} B" in text
    assert "1 entry" in text and "never" not in text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"alias": "disk"}, {"second"}),
        ({"model": "other-model"}, {"third"}),
        ({"namespace": "help"}, {"first"}),
        ({"kind": "completion"}, {"first", "second", "third"}),
        ({"kind": "embedding"}, set()),
        ({"state": "pinned"}, {"third"}),
        ({"state": "cold"}, {"second"}),
        ({"state": "expired"}, {"first"}),
        ({"state": "live"}, {"second", "third"}),
        ({"alias": "default", "namespace": "help"}, {"first"}),
        ({"q": "other-model"}, {"third"}),
        ({"q": "bread"}, set()),
    ],
)
def test_filters_and_search_narrow_the_list_and_what_is_evicted_by_them(
    query: dict[str, str], expected: set[str], admin_client: Client, ask: Ask
) -> None:
    made = {
        "first": ask("bread 1", cache={"namespace": "help"}),
        "second": ask("bread 2", using="disk"),
        "third": ask("bread 3", model="other-model"),
    }
    rows = Entry.objects
    past = timezone.now() - timedelta(minutes=1)
    rows.filter(pk=made["first"].pk).update(expires=past, kept_until=past)
    rows.filter(pk=made["second"].pk).update(
        created=past - timedelta(days=9), expires=past + timedelta(days=9)
    )
    rows.filter(pk=made["third"].pk).update(pinned=True, expires=None, kept_until=None)
    assert found(admin_client, **query) == {made[name].digest for name in expected}

    pinned = 1 if "third" in expected else 0
    confirm = admin_client.get(address("entry_evict_matching"), query)
    number = len(expected) - pinned
    text = words(confirm.content.decode())
    assert f"{number} {'entry' if number == 1 else 'entries'} will be evicted" in text
    admin_client.post(confirm.wsgi_request.get_full_path())
    gone = {name for name, entry in made.items() if not rows.filter(pk=entry.pk).exists()}
    assert gone == expected - {"third"}


def test_search_takes_the_beginning_of_a_digest(admin_client: Client, ask: Ask) -> None:
    one, other = ask("one"), ask("other")
    assert found(admin_client, q=f" {one.digest[:9].upper()} ") == {one.digest}
    assert found(admin_client, q=other.digest) == {other.digest}


def test_a_model_whose_name_could_be_a_digest_is_found(admin_client: Client, ask: Ask) -> None:
    entry = ask(model="ada")
    assert found(admin_client, q="ada") == {entry.digest}


def test_ticked_entries_are_evicted_logged_and_gone_for_callers(
    admin_client: Client, ask: Ask
) -> None:
    one, other, kept = ask("one"), ask("other"), ask("kept")
    response = admin_client.post(
        address(LIST), {"action": "evict_selected", "_selected_action": [one.pk, other.pk]}
    )
    assert response.status_code == 302
    assert list(Entry.objects.all()) == [kept]
    outcomes = [
        llmcache.completion(MODEL, messages=[{"role": "user", "content": text}]).cache.outcome
        for text in ("one", "other", "kept")
    ]
    assert outcomes == ["miss", "miss", "hit"]
    logged = LogEntry.objects.values_list("object_id", "action_flag", "user__username")
    assert set(logged) == {(str(one.pk), 3, "admin"), (str(other.pk), 3, "admin")}
    assert Eviction.objects.operations().get().by == "admin"


def test_evicting_all_that_match_asks_first_and_takes_no_get(
    admin_client: Client, ask: Ask
) -> None:
    for number in range(3):
        ask(f"question {number}", cache={"namespace": "help"})
    other = ask("other")
    page = admin_client.get(address("entry_evict_matching") + "?namespace=help")
    text = words(page.content.decode())
    assert "3 entries will be evicted" in text and "Namespace: help" in text
    assert Entry.objects.count() == 4
    admin_client.post(address("entry_evict_matching") + "?namespace=help")
    assert list(Entry.objects.all()) == [other]
    assert LogEntry.objects.get().object_repr == "namespace=help"
    assert Eviction.objects.operations().get().number == 3


def test_pinned_entries_stay_and_the_page_says_how_many(admin_client: Client, ask: Ask) -> None:
    ask("one")
    pinned = ask("two")
    Entry.objects.filter(pk=pinned.pk).update(pinned=True)
    text = words(admin_client.get(address("entry_evict_matching")).content.decode())
    assert "1 entry will be evicted" in text
    assert "1 pinned" in text and "all entries of all stores" in text
    admin_client.post(address("entry_evict_matching"))
    assert list(Entry.objects.all()) == [pinned]


def test_a_filter_written_by_hand_is_refused_for_evicting_and_not_left_out(
    admin_client: Client, ask: Ask
) -> None:
    ask()
    url = address("entry_evict_matching") + "?size__gt=1000000"
    for response in (admin_client.get(url, follow=True), admin_client.post(url, follow=True)):
        assert "does not know the filter size__gt" in words(response.content.decode())
    assert Entry.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_more_than_can_be_waited_for_goes_to_a_job(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, admin_client: Client
) -> None:
    monkeypatch.setattr(entries, "AT_ONCE", 1)
    for number in range(2):
        ask(f"question {number}", cache={"namespace": "help"})
    other = ask("other")
    page = admin_client.post(address("entry_evict_matching") + "?namespace=help", follow=True)
    assert "2 entries are being evicted" in words(page.content.decode())
    for thread in threading.enumerate():
        if thread.name == "llmcache-evict_matching":
            thread.join(30)
    assert list(Entry.objects.all()) == [other]
    assert Eviction.objects.operations().get().by == "admin"


def test_a_store_that_fails_keeps_its_entries_and_the_page_says_so(
    admin_client: Client, ask: Ask, failing: Any
) -> None:
    entry = ask(using="disk")
    failing(stores["disk"], "delete_many", "the disk is \u202eread-only")
    page = admin_client.post(address("entry_evict_matching"), follow=True)
    text = words(page.content.decode())
    assert "stayed, as it failed" in text and r"the disk is \u202eread-only" in text
    assert Entry.objects.get() == entry


def test_ticked_entries_that_stay_are_not_logged_as_evicted(
    admin_client: Client, ask: Ask, failing: Any
) -> None:
    gone, stays = ask("gone"), ask("stays", using="disk")
    failing(stores["disk"], "delete_many", "read-only")
    ticked = {"action": "evict_selected", "_selected_action": [gone.pk, stays.pk]}
    text = words(admin_client.post(address(LIST), ticked, follow=True).content.decode())
    assert "1 entry was evicted" in text and "stayed, as it failed" in text
    assert list(Entry.objects.all()) == [stays]
    assert list(LogEntry.objects.values_list("object_id", flat=True)) == [str(gone.pk)]


def test_too_many_ticked_entries_are_left_to_the_other_way(
    admin_client: Client, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "AT_ONCE", 1)
    ticked = [ask("one").pk, ask("other").pk]
    page = admin_client.post(
        address(LIST), {"action": "evict_selected", "_selected_action": ticked}, follow=True
    )
    assert "use “Evict all that match”" in words(page.content.decode())
    assert Entry.objects.count() == 2 and not LogEntry.objects.exists()


@pytest.mark.parametrize("name", ["entry_evict", "entry_pin", "entry_ttl", "entry_again"])
def test_nothing_is_done_by_get(name: str, admin_client: Client, ask: Ask) -> None:
    assert admin_client.get(address(name, ask().pk)).status_code == 405


def test_whoever_may_only_look_is_offered_nothing_and_refused_everything(
    person: Person, ask: Ask
) -> None:
    entry = ask("a secret prompt")
    client = person("view_entry")
    page = client.get(address(LIST)).content.decode()
    assert "evict" not in page.replace("Evictions", "").lower()
    assert "a secret prompt" not in page
    posts = [address(f"entry_{what}", entry.pk) for what in ("evict", "pin", "ttl", "again")]
    posts += [address("entry_answer", entry.pk), address("entry_evict_matching")]
    assert {client.post(url).status_code for url in posts} == {403}
    client.post(address(LIST), {"action": "evict_selected", "_selected_action": [entry.pk]})
    assert Entry.objects.get() == entry


def test_whoever_has_no_rights_here_sees_no_page(person: Person, ask: Ask) -> None:
    entry = ask()
    client = person()
    urls = [address(f"{name}_changelist") for name in ("entry", "call", "hourlystat", "eviction")]
    urls += [address("explain"), address("aliases"), address("entry_change", entry.pk)]
    assert {client.get(url).status_code for url in urls} == {403}
    assert {Client().get(url).status_code for url in urls} == {302}


def test_a_big_list_counts_only_so_far(
    admin_client: Client, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "MOST", 2)
    for number in range(4):
        ask(f"question {number}")
    response = admin_client.get(address(LIST))
    text = words(response.content.decode())
    assert "2+ entries" in text and "narrow the filter" in text
    assert response.context["cl"].full_result_count is None
