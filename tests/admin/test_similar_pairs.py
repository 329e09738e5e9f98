"""The list of similar pairs, the page of one, and what staff say of them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client, override_settings
from django.utils import timezone

from llmcache.admin import similar_pairs
from llmcache.models import Entry, MatchedPair
from tests.admin.conftest import Person, address, words
from tests.admin.pairs import SIMILAR, STORED, ask, decided, matched, semantic

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("semantic_site")]

# --- the list ---


def test_the_list_shows_both_prompts_and_the_live_rate(
    pair: MatchedPair, admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        decided(number, same=number > 0)
    with django_assert_max_num_queries(10):
        page = words(admin_client.get(address("matchedpair_changelist")).content.decode())
    assert STORED in page and SIMILAR in page
    assert "Of 20 pairs that were compared with a new answer, 5 % were wrong" in page
    assert "0.9 % to 23.6 %" in page
    assert "1 rejected, 1 undecided" in page


def test_what_nobody_compared_has_no_rate(pair: MatchedPair, admin_client: Client) -> None:
    page = words(admin_client.get(address("matchedpair_changelist")).content.decode())
    assert "No match was compared" in page


@pytest.mark.parametrize(("same", "number"), [("yes", 3), ("no", 2), ("open", 1)])
def test_the_list_is_narrowed_by_what_was_decided(
    pair: MatchedPair, admin_client: Client, same: str, number: int
) -> None:
    for count in range(5):
        decided(count, same=count > 1)
    page = admin_client.get(address("matchedpair_changelist"), {"same": same})
    assert page.context["cl"].result_count == number


def test_ticked_pairs_are_rejected(pair: MatchedPair, admin_client: Client) -> None:
    data = {"action": "say_other", "_selected_action": [pair.pk]}
    response = admin_client.post(address("matchedpair_changelist"), data, follow=True)
    assert "1 pair was decided." in response.content.decode()
    pair.refresh_from_db()
    assert (pair.same, pair.decided_by) == (False, "admin")
    assert ask(STORED).cache.outcome == "miss"
    assert not ask(SIMILAR).cache.hit
    log = LogEntry.objects.get()
    assert (log.change_message, log.object_id) == ("Rejected.", str(pair.pk))
    history = admin_client.get(address("matchedpair_history", pair.pk)).content.decode()
    assert "Rejected." in history


def test_ticked_pairs_are_the_same(pair: MatchedPair, admin_client: Client) -> None:
    data = {"action": "say_same", "_selected_action": [pair.pk]}
    admin_client.post(address("matchedpair_changelist"), data)
    pair.refresh_from_db()
    assert (pair.same, pair.decided_by) == (True, "admin")
    assert ask(SIMILAR).cache.hit


def test_the_list_says_in_words_what_was_decided(admin_client: Client) -> None:
    for number, same in enumerate((True, False, None)):
        decided(number, same)
    page = words(admin_client.get(address("matchedpair_changelist")).content.decode())
    for number, said in enumerate(("yes", "no", "nobody has said")):
        assert f"red apple pie {number} recipe {said} audited 1" in page


def test_the_list_is_narrowed_by_when_a_pair_was_seen(admin_client: Client) -> None:
    long_ago = timezone.now() - timedelta(days=30)
    decided(1, True, created=long_ago)  # and seen just now
    decided(2, True, created=long_ago, seen=timezone.now() - timedelta(days=2))
    for since, number in (("hour", 1), ("day", 1), ("week", 2), ("", 2)):
        page = admin_client.get(address("matchedpair_changelist"), {"since": since})
        assert page.context["cl"].result_count == number


def test_what_only_served_is_no_sample_of_the_rate(admin_client: Client) -> None:
    for number in range(4):
        decided(number, same=number > 0)
        decided(number, False, "served")
    page = words(admin_client.get(address("matchedpair_changelist")).content.decode())
    assert "Of 4 pairs that were compared with a new answer, 25 % were wrong" in page
    assert "5 rejected, 0 undecided" in page


def test_the_rate_of_a_big_table_is_that_of_its_latest_rows(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = timezone.now() - timedelta(days=30)
    for number in range(4):
        decided(number, same=number > 1, seen=long_ago if number < 2 else timezone.now())
    monkeypatch.setattr(similar_pairs, "MOST", 2)
    page = words(admin_client.get(address("matchedpair_changelist")).content.decode())
    assert "Counted in the 2 pairs seen last. Of 2 pairs that were compared" in page
    assert "0 rejected" in page


def test_a_long_prompt_is_cut_on_the_list_and_whole_on_its_page(admin_client: Client) -> None:
    row = decided(1, True, asked="a" * 300 + "bcd")
    page = admin_client.get(address("matchedpair_changelist")).content.decode()
    assert "a" * 300 + "…" in page and "bcd" not in page
    page = admin_client.get(address("matchedpair_change", row.pk)).content.decode()
    assert "a" * 300 + "bcd" in page


# --- one pair ---


def test_a_pair_has_its_prompts_its_guards_and_its_entry(
    pair: MatchedPair, admin_client: Client
) -> None:
    page = words(admin_client.get(address("matchedpair_change", pair.pk)).content.decode())
    assert STORED in page and SIMILAR in page
    assert "negation" in page and "numbers" in page
    entry = Entry.objects.get()
    raw = admin_client.get(address("matchedpair_change", pair.pk)).content.decode()
    assert address("entry_change", entry.pk) in raw


def test_a_pair_is_rejected_and_taken_back(pair: MatchedPair, admin_client: Client) -> None:
    url = address("matchedpair_decide", pair.pk)
    assert admin_client.get(url).status_code == 405
    admin_client.post(url, {"same": "no"})
    ask(STORED)
    assert not ask(SIMILAR, cache={"no-store": True}).cache.hit
    admin_client.post(url, {"same": "yes"})
    assert ask(SIMILAR).cache.hit
    assert admin_client.post(url, {"same": "maybe"}).status_code == 404
    assert admin_client.post(address("matchedpair_decide", 99), {"same": "no"}).status_code == 404


def test_a_pair_of_a_layered_store_is_rejected(admin_client: Client) -> None:
    row = matched(using="tiered")
    assert row.alias == "tiered"
    admin_client.post(address("matchedpair_decide", row.pk), {"same": "no"})
    ask(STORED, using="tiered")
    assert not ask(SIMILAR, using="tiered").cache.hit


def test_guards_are_not_asked_of_whole_conversations(
    admin_client: Client, pair: MatchedPair, tmp_path: Path
) -> None:
    with override_settings(LLMCACHE={"default": semantic(tmp_path / "t", history="similar")}):
        url = address("matchedpair_change", pair.pk)
        page = words(admin_client.get(url).content.decode())
    assert "compares whole conversations" in page and "What the guards say" not in page


def test_what_a_guard_says_is_hidden_from_who_may_not_read_prompts(person: Person) -> None:
    row = decided(1, True, asked="I have 3 dogs", stored="I have 4 dogs")
    url = address("matchedpair_change", row.pk)
    page = words(person("view_matchedpair").get(url).content.decode())
    assert "numbers objects" in page and "3" not in page.partition("What the guards")[2]
    page = words(person("view_matchedpair", "view_payload").get(url).content.decode())
    assert "numbers objects" not in page and "dogs" in page


def test_a_store_that_is_gone_is_told(pair: MatchedPair, admin_client: Client) -> None:
    MatchedPair.objects.update(alias="gone")
    assert admin_client.get(address("matchedpair_change", pair.pk)).status_code == 200
    url = address("matchedpair_decide", pair.pk)
    response = admin_client.post(url, {"same": "no"}, follow=True)
    assert "stayed as it was" in response.content.decode()
    pair.refresh_from_db()
    assert pair.same is None


def test_deciding_and_reading_need_permissions(pair: MatchedPair, person: Person) -> None:
    viewer = person("view_matchedpair")
    page = viewer.get(address("matchedpair_changelist")).content.decode()
    assert STORED not in page and "say_other" not in page
    page = viewer.get(address("matchedpair_change", pair.pk)).content.decode()
    assert STORED not in page and "decide" not in page
    assert viewer.post(address("matchedpair_decide", pair.pk), {"same": "no"}).status_code == 403
    stranger = person("view_entry")
    assert stranger.get(address("matchedpair_changelist")).status_code == 403
    assert stranger.get(address("threshold")).status_code == 403
    decider = person("view_matchedpair", "change_matchedpair")
    assert decider.post(address("matchedpair_decide", pair.pk), {"same": "no"}).status_code == 302
