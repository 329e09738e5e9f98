"""Conversations whose earlier turns differ: equal turns are demanded, or compared if so chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmcache import caching, matching
from llmcache.matching import observing
from llmcache.matching.question import read, transcript, turns_of
from llmcache.models import MatchedPair
from tests.matching.conftest import Site
from tests.matching.test_serving import ask, provider
from tests.matching.verdicts import FixedJudge
from tests.matching.words import WordEmbedder

QUESTION = "how long does a parcel to Portugal take with express shipping"
ALIKE = "hi how long does a parcel to Portugal take with express shipping"


def conversation(*texts: str, system: str = "Be brief.") -> list[dict[str, Any]]:
    turns = [
        {"role": ("user", "assistant")[number % 2], "content": text}
        for number, text in enumerate(texts)
    ]
    return [{"role": "system", "content": system}, *turns]


GREETED = conversation("hello there", "Hello! How can I help you?", QUESTION)
THANKED = conversation("good morning", "Good morning! What can I do for you?", ALIKE)


def test_other_turns_do_not_match_unless_histories_are_compared(door: Any, site: Site) -> None:
    ask(door, messages=GREETED)
    assert not ask(door, messages=THANKED).cache.hit


def test_small_talk_before_a_question_makes_no_difference(door: Any, site: Site) -> None:
    site(history="similar")
    first = ask(door, messages=GREETED)
    again = ask(door, messages=THANKED)
    assert again.id == first.id
    assert again.cache.match.stored.startswith("user: hello there\nassistant: Hello!")
    assert again.cache.match.asked.endswith(f"user: {ALIKE}")


def test_another_fact_in_the_history_does(door: Any, site: Site) -> None:
    site(history="similar")
    last = "and how long does the express shipping take for this parcel"
    first = "my parcel goes to {} and it weighs {} kg"
    said = "Good, I have noted that."
    ask(door, messages=conversation(first.format("Lisbon", 3), said, last))
    other = ask(door, messages=conversation(first.format("Vienna", 9), said, last))
    assert other.cache.outcome == "miss"
    assert "history" in other.cache.reason


def test_a_bare_answer_is_nothing_without_its_own_history(door: Any, site: Site) -> None:
    site(history="similar")
    ask(door, messages=conversation("cancel my order", "Do you want to cancel order A12?", "yes"))
    other = conversation("close my account", "Do you want to close your account?", "yes")
    assert not ask(door, messages=other).cache.hit


@pytest.mark.parametrize(
    "other",
    [
        conversation("good morning", "Good morning!", ALIKE, system="Be long."),
        [*THANKED, {"role": "assistant", "content": "It takes"}],
        [THANKED[0], {"role": "tool", "tool_call_id": "1", "content": "x"}, *THANKED[1:]],
        [THANKED[0], {**THANKED[1], "name": "anna"}, *THANKED[2:]],
    ],
    ids=["system", "begun answer", "tool", "name"],
)
def test_all_else_must_be_equal_still(door: Any, site: Site, other: list[dict[str, Any]]) -> None:
    site(history="similar")
    ask(door, messages=GREETED)
    assert not ask(door, messages=other).cache.hit


def test_a_guard_compares_the_last_messages(door: Any, site: Site) -> None:
    site(history="similar")
    ask(door, messages=GREETED)
    other = conversation("good morning", "Good morning!", f"{ALIKE} not")
    assert not ask(door, messages=other).cache.hit


def test_an_answer_stored_under_the_other_way_is_not_taken(door: Any, site: Site) -> None:
    question = [{"role": "user", "content": QUESTION}]
    first = ask(door, messages=question)
    site(history="similar")
    asked = [{"role": "user", "content": ALIKE}]
    other = ask(door, messages=asked, cache={"no-store": True})
    assert other.id != first.id
    assert ask(door, messages=question).id == first.id  # the exact key is the same


def test_a_judge_sees_whole_conversations(door: Any, site: Site) -> None:
    FixedJudge.asked.clear()
    judge = {"BACKEND": "tests.matching.verdicts.FixedJudge", "OPTIONS": {"says": True}}
    site(history="similar", judge=judge, judge_band=[0.5, 1.0])
    ask(door, messages=GREETED)
    assert ask(door, messages=THANKED).cache.hit
    ((asked, stored),) = FixedJudge.asked
    assert "good morning" in asked and "hello there" in stored


@pytest.mark.django_db(transaction=True)
def test_a_rejected_pair_of_conversations_never_matches_again(door: Any, site: Site) -> None:
    site(history="similar")
    ask(door, messages=GREETED)
    door.reject(ask(door, messages=THANKED))
    ask(door, messages=GREETED)
    assert not ask(door, messages=THANKED).cache.hit
    assert provider().call_count == 3
    row = MatchedPair.objects.get()
    assert "good morning" in row.asked


@pytest.mark.django_db(transaction=True)
def test_conversations_are_noted_as_transcripts(door: Any, site: Site) -> None:
    site({"STORE_PROMPTS": "full"}, history="similar")
    ask(door, messages=GREETED)
    ask(door, messages=THANKED)
    observing.flush()
    row = MatchedPair.objects.get()
    assert row.stored.startswith("user: hello there")
    assert not row.whole  # a transcript is not what was asked: nothing is measured with it


@pytest.mark.django_db(transaction=True)
def test_single_messages_are_kept_whole_all_the_same(door: Any, site: Site) -> None:
    site({"STORE_PROMPTS": "full"}, history="similar")
    ask(door, messages=[{"role": "user", "content": QUESTION}])
    ask(door, messages=[{"role": "user", "content": ALIKE}])
    observing.flush()
    row = MatchedPair.objects.get()
    assert (row.asked, row.stored, row.whole) == (ALIKE, QUESTION, True)


def test_what_is_too_long_to_keep_matches_nothing(
    door: Any, site: Site, counted: Callable[[str], int]
) -> None:
    site(history="similar", embedder={"BACKEND": "tests.matching.words.WordEmbedder"})
    long = conversation("x" * 120_000, "ok", QUESTION)
    ask(door, messages=long)
    assert not ask(door, messages=[*long[:1], *long[3:]]).cache.hit
    assert len(WordEmbedder.texts) == 2


# --- the parts ---


def material(messages: list[dict[str, Any]]) -> dict[str, Any]:
    return {"kind": "completion", "params": {"messages": messages}}


def test_turns_are_what_was_said_before_and_no_part_of_the_partition() -> None:
    found, other = (read(material(c), with_turns=True) for c in (GREETED, THANKED))
    assert found is not None and other is not None
    assert found.partition == other.partition
    assert [role for role, _ in found.turns] == ["user", "assistant", "user"]
    plain = read(material(GREETED))
    assert plain is not None
    assert (plain.turns, plain.prompt, plain.subject) == ((), QUESTION, QUESTION)
    assert plain.partition != found.partition


def test_a_kept_prompt_is_read_again() -> None:
    found = read(material(GREETED), with_turns=True)
    assert found is not None
    assert turns_of(found.prompt) == list(found.turns)
    assert transcript(found.prompt, with_turns=False) == found.prompt
    alone = read(material([{"role": "user", "content": "one"}]), with_turns=True)
    assert alone is not None
    assert transcript(alone.prompt, with_turns=True) == "one"


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", "[1]", '[["user"]]', '[["user", 1]]'])
def test_what_is_no_kept_conversation_is_none(text: str) -> None:
    assert turns_of(text) is None
    assert transcript(text, with_turns=True) == text


def test_a_stored_prompt_that_is_no_conversation_serves_none(site: Site) -> None:
    site(history="similar")
    cache = caching.for_alias("default")
    assert cache is not None
    matcher = matching.for_store(cache)
    question = read(material(GREETED), with_turns=True)
    assert matcher is not None and question is not None
    assert matcher.refused(question, question.prompt) is None
    for stored in (QUESTION, "[]"):
        veto = matcher.refused(question, stored)
        assert veto is not None and veto.reason == "what is stored is no conversation"
        assert matcher.verdicts(question, stored)[0] == ("history", veto.reason)
