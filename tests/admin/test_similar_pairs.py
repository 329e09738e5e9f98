"""Pages over matching by meaning: similar pairs, thresholds, what comes near an entry or a call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client, override_settings
from playwright.async_api import Browser, expect

import llmcache
from llmcache.matching import observing
from llmcache.models import Entry, MatchedPair
from llmcache.recorder import recorder
from llmcache.text import clean
from tests.admin.conftest import MODEL, Person, address, words
from tests.admin.test_hostile_text import HOSTILE, harmless
from tests.admin.test_in_the_browser import LOOKS, visiting
from tests.matching.conftest import WORDS
from tests.matching.words import WordEmbedder

STORED = "how do I return my order of shoes please"
SIMILAR = "hi how can I return my order of shoes please"
NUMBERS = ("return my order of 3 shoes please", "return my order of 7 shoes please")


@pytest.fixture(autouse=True)
def semantic_site(site: None, tmp_path: Path) -> Iterator[None]:
    """The default store is searched by meaning; another is not."""
    stores = {
        "default": {
            "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
            "LOCATION": str(tmp_path / "similar"),
            "OPTIONS": {"embedder": WORDS, "guards": ["numbers", "negation"]},
        },
        "exact": {"BACKEND": "llmcache.backends.memory.MemoryBackend"},
    }
    with override_settings(LLMCACHE=stores):
        yield


def ask(text: str, **arguments: Any) -> Any:
    return llmcache.completion(MODEL, messages=[{"role": "user", "content": text}], **arguments)


@pytest.fixture
def pair(db: None) -> MatchedPair:
    """A pair that has matched, and its entry."""
    ask(STORED)
    ask(SIMILAR)
    recorder.flush()
    observing.flush()
    return MatchedPair.objects.get()


def decided(number: int, same: bool, how: str = "audit", **values: Any) -> MatchedPair:
    texts = {"asked": f"red apple pie {number}", "stored": f"red apple pie {number} recipe"}
    given = {"alias": "default", "digest": "ab", "similarity": 0.9, "whole": True, **texts}
    return MatchedPair.objects.create(
        pair=f"{how}{number}", same=same, how=how, **{**given, **values}
    )


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
    assert "rejected" in LogEntry.objects.get().change_message


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


# --- thresholds ---


def threshold_page(client: Client, **query: Any) -> str:
    return words(client.get(address("threshold"), query).content.decode())


def test_the_threshold_page_measures_what_was_decided(admin_client: Client) -> None:
    for number in range(4):
        decided(number, same=number > 0)
    page = threshold_page(admin_client)
    assert "What would be served of 4 pairs" in page
    assert "this threshold 0.700 100 %" in page
    assert "Served, and wrong" in page and "red apple pie 0 recipe" in page
    page = threshold_page(admin_client, alias="default", pairs="decided", threshold="0.95")
    assert "this threshold 0.950 0 %" in page
    assert "the configured one 0.700 100 %" in page


def test_moving_the_slider_embeds_nothing_again(admin_client: Client) -> None:
    decided(1, same=True)
    threshold_page(admin_client)
    before = len(WordEmbedder.texts)
    threshold_page(admin_client, threshold="0.5")
    assert len(WordEmbedder.texts) == before
    decided(2, same=True)
    threshold_page(admin_client, threshold="0.5")
    assert len(WordEmbedder.texts) == before + 4


def test_the_sample_can_be_measured_too(admin_client: Client) -> None:
    page = threshold_page(admin_client, pairs="sample", threshold="0.8")
    assert "What would be served of 600 pairs" in page
    assert "negation" in page


@pytest.mark.parametrize("query", [{"threshold": "2"}, {"pairs": "x"}, {"threshold": "high"}])
def test_a_wrong_choice_is_said_in_the_form(admin_client: Client, query: dict[str, str]) -> None:
    response = admin_client.get(address("threshold"), query)
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()


def test_without_pairs_or_without_a_semantic_store_the_page_says_so(
    admin_client: Client,
) -> None:
    assert "Nobody has decided" in threshold_page(admin_client)
    with override_settings(
        LLMCACHE={"default": {"BACKEND": "llmcache.backends.memory.MemoryBackend"}}
    ):
        assert "No alias of LLMCACHE is a semantic store" in threshold_page(admin_client)


def test_who_may_not_read_prompts_sees_figures_alone(person: Person) -> None:
    decided(0, same=False)
    page = threshold_page(person("view_matchedpair"))
    assert "Served, and wrong" in page and "apple" not in page


# --- neighbours ---


def near(client: Client, entry: Entry) -> str:
    url = address("entry_change", entry.pk) + "?neighbours=1"
    return words(client.get(url).content.decode())


def test_an_entry_shows_what_comes_near_it_when_asked(admin_client: Client, db: None) -> None:
    for text in (*NUMBERS, "what is the capital of France"):
        ask(text)
    recorder.flush()
    entry = Entry.objects.get(preview=NUMBERS[0])
    before = len(WordEmbedder.texts)
    page = words(admin_client.get(address("entry_change", entry.pk)).content.decode())
    assert "Look for what is stored near it" in page
    assert len(WordEmbedder.texts) == before
    page = near(admin_client, entry)
    assert NUMBERS[1] in page and "a guard objects" in page and "numbers" in page
    assert "capital of France" in page and "not similar enough" in page
    assert "from 0.700 on one may serve" in page


def test_an_entry_whose_prompt_is_not_kept_says_so(admin_client: Client, db: None) -> None:
    with override_settings(LLMCACHE_CONFIG={"STORE_PROMPTS": "preview"}):
        ask(STORED)
        recorder.flush()
    assert "does not keep the whole prompt" in near(admin_client, Entry.objects.get())


def test_an_entry_of_an_exact_store_has_no_such_part(admin_client: Client, db: None) -> None:
    ask(STORED, using="exact")
    recorder.flush()
    assert "Similar prompts" not in near(admin_client, Entry.objects.get())


def test_explaining_a_miss_shows_neighbours_and_tries_a_threshold(
    admin_client: Client, pair: MatchedPair
) -> None:
    def explained(text: str, **fields: Any) -> str:
        request = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
        data = {"kind": "completion", "alias": "default", "request": json.dumps(request), **fields}
        return words(admin_client.post(address("explain"), data).content.decode())

    page = explained(SIMILAR)
    assert STORED in page and "would serve" in page
    page = explained(SIMILAR, threshold="0.95")
    assert "not similar enough" in page and "from 0.950 on" in page
    assert "Similar prompts" not in explained(STORED)  # a hit needs none
    assert "may serve" not in explained(SIMILAR, alias="exact")


def test_a_rejected_neighbour_is_marked(admin_client: Client, pair: MatchedPair) -> None:
    llmcache.reject(ask(SIMILAR))
    ask(STORED)
    ask(SIMILAR)
    recorder.flush()
    page = near(admin_client, Entry.objects.get(preview=SIMILAR))
    assert STORED in page and "rejected" in page


# --- texts of others, and looks ---


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_prompts_are_shown_as_they_are(text: str, admin_client: Client, db: None) -> None:
    said = text.encode("utf-8", "replace").decode()
    ask(f"{said} {STORED}")
    ask(f"{said} {SIMILAR}")
    recorder.flush()
    observing.flush()
    if not MatchedPair.objects.exists():  # a guard has objected
        decided(1, False, asked=clean(text), stored=clean(text), model=clean(text))
    MatchedPair.objects.update(same=False, whole=True, decided_by=clean(text))
    row = MatchedPair.objects.get()
    harmless(admin_client.get(address("matchedpair_changelist")))
    harmless(admin_client.get(address("matchedpair_change", row.pk)))
    assert admin_client.get(address("threshold")).status_code == 200
    for entry in Entry.objects.all():
        harmless(admin_client.get(address("entry_change", entry.pk) + "?neighbours=1"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("look", LOOKS)
async def test_the_pages_fit_and_break_no_rule_of_the_policy(
    look: str, live_server: Any, browser: Browser
) -> None:
    def fill() -> tuple[int, int]:
        User.objects.create_superuser("admin", password="secret")
        for text in (*NUMBERS, STORED, SIMILAR, "What is the capital of France?"):
            ask(text)
        recorder.flush()
        observing.flush()
        for number in range(30):
            decided(number, number % 9 > 0, how=("audit", "shadow")[number % 2])
        entry = Entry.objects.get(preview=NUMBERS[0])
        return entry.pk, MatchedPair.objects.get(how="served").pk

    entry, row = await sync_to_async(fill)()
    visit = await visiting(browser, live_server.url, look)
    for name, arguments, query in (
        ("matchedpair_changelist", (), ""),
        ("matchedpair_change", (row,), ""),
        ("threshold", (), "?pairs=sample&threshold=0.8"),
        ("entry_change", (entry,), "?neighbours=1"),
    ):
        await visit.open(name, *arguments, query=query)
        await visit.picture(f"similar-{name}")
    await visit.page.context.close()


@pytest.mark.django_db(transaction=True)
async def test_the_slider_measures_when_it_is_let_go(live_server: Any, browser: Browser) -> None:
    await sync_to_async(User.objects.create_superuser)("admin", password="secret")
    await sync_to_async(decided)(1, True)
    visit = await visiting(browser, live_server.url, "light")
    await visit.open("threshold")
    await visit.page.get_by_role("slider").fill("0.95")
    await expect(visit.page.get_by_text("this threshold", exact=True)).to_be_visible()
    await visit.page.wait_for_url("**threshold=0.95**")
    await expect(visit.page.locator("output")).to_have_text("0.950")
    await visit.fits()
    await visit.page.context.close()
