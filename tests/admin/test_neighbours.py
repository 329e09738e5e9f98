"""What comes near an entry, or near a call that is explained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, override_settings

import llmcache
from llmcache.backends import stores
from llmcache.models import Entry, MatchedPair
from llmcache.recorder import recorder
from tests.admin.conftest import Person, address, words
from tests.admin.pairs import MODEL, NUMBERS, SIMILAR, STORED, ask, matched, semantic
from tests.matching.conftest import WORDS
from tests.matching.verdicts import FixedJudge
from tests.matching.words import WordEmbedder

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("semantic_site")]


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
    assert "1.000" not in page  # it is not near itself


def shorter(text: str) -> str:
    return text.replace("shoes", "***")


@pytest.mark.parametrize(
    "config", [{"STORE_PROMPTS": "preview"}, {"STORE_PROMPTS": "full", "REDACT": shorter}]
)
def test_an_entry_whose_prompt_is_not_kept_whole_says_so(
    admin_client: Client, config: dict[str, Any]
) -> None:
    with override_settings(LLMCACHE_CONFIG=config):
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


def test_an_entry_of_a_layered_store_leads_to_the_entries_near_it(admin_client: Client) -> None:
    matched(using="tiered")
    ask(NUMBERS[0], using="tiered")
    recorder.flush()
    entry = Entry.objects.get(preview=NUMBERS[0])
    url = address("entry_change", entry.pk) + "?neighbours=1"
    page = admin_client.get(url).content.decode()
    other = Entry.objects.get(preview=STORED)
    assert f'href="{address("entry_change", other.pk)}"' in page


def test_who_may_not_read_prompts_sees_similarities_alone(person: Person) -> None:
    for text in (*NUMBERS, STORED):
        ask(text)
    recorder.flush()
    page = near(person("view_entry"), Entry.objects.get(preview=NUMBERS[0]))
    assert "a guard objects" in page and "numbers" in page and "0.857" in page
    assert "shoes" not in page and "in one of them" not in page


def test_an_embedder_that_fails_is_a_note_on_the_page(admin_client: Client, tmp_path: Path) -> None:
    ask(STORED)
    recorder.flush()
    broken = semantic(tmp_path / "broken")
    broken["OPTIONS"]["embedder"] = {"BACKEND": WORDS, "OPTIONS": {"fail": True}}
    with override_settings(LLMCACHE={"default": broken}):
        assert "the question could not be embedded" in near(admin_client, Entry.objects.get())


def test_a_store_that_fails_is_a_note_on_the_page(admin_client: Client, failing: Any) -> None:
    ask(STORED)
    recorder.flush()
    failing(stores["default"], "nearest", "unplugged")
    assert "The store failed: OSError: unplugged" in near(admin_client, Entry.objects.get())


def test_what_the_judge_would_be_asked_about_is_marked_and_nobody_asks_it(
    admin_client: Client, tmp_path: Path
) -> None:
    judge = {"BACKEND": "tests.matching.verdicts.FixedJudge", "OPTIONS": {"says": True}}
    judged = semantic(tmp_path / "judged", judge=judge, judge_band=[0.5, 1.0])
    FixedJudge.asked.clear()
    with override_settings(LLMCACHE={"default": judged}):
        ask(STORED)
        ask(SIMILAR, cache={"semantic": False})
        recorder.flush()
        page = near(admin_client, Entry.objects.get(preview=SIMILAR))
    assert STORED in page and "the judge decides" in page
    assert FixedJudge.asked == []
