"""A question that means the same is served the stored answer, and no other one is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

import llmcache
from llmcache import caching, engine, matching, writer
from llmcache.backends import stores
from llmcache.backends.semantic.base import SemanticBackend, Vector
from llmcache.calls import build
from llmcache.upstreams import upstreams
from llmcache.upstreams.fake import FakeUpstream
from tests.matching.conftest import WORDS, Site
from tests.matching.words import WordEmbedder

STORED = "how do I return my order of shoes please"
SIMILAR = "hi how can I return my order of shoes please"
"""Most of the words of STORED: a similarity of 0.84."""
OTHER = "what is the capital of France"


def messages(text: Any, *before: dict[str, Any]) -> list[dict[str, Any]]:
    return [*before, {"role": "user", "content": text}]


def ask(door: Any, text: Any = STORED, **kwargs: Any) -> Any:
    kwargs = {"model": "m", "messages": messages(text), "temperature": 0, **kwargs}
    return door.completion(**kwargs)


def provider() -> FakeUpstream:
    fake = upstreams["default"]
    assert isinstance(fake, FakeUpstream)
    return fake


def test_a_similar_question_is_served_the_stored_answer(door: Any, site: Site) -> None:
    first = ask(door)
    again = ask(door, SIMILAR)
    assert again.id == first.id
    assert again.cache.outcome == "hit"
    assert 0.8 < again.cache.similarity < 0.99
    assert again.cache.key == first.cache.key
    assert (again.cache.match.asked, again.cache.match.stored) == (SIMILAR, STORED)
    assert provider().call_count == 1


def test_an_identical_question_costs_no_embedding(door: Any, site: Site) -> None:
    ask(door)
    assert WordEmbedder.texts == [STORED]
    again = ask(door)
    assert (again.cache.outcome, again.cache.similarity) == ("hit", 1.0)
    assert WordEmbedder.texts == [STORED]


def test_a_miss_costs_one_embedding_which_the_store_uses_too(door: Any, site: Site) -> None:
    ask(door, OTHER)
    ask(door)
    assert WordEmbedder.texts == [OTHER, STORED]
    assert ask(door, SIMILAR).cache.hit


def test_another_question_is_a_miss_that_says_why(door: Any, site: Site) -> None:
    ask(door)
    other = ask(door, OTHER)
    assert other.cache.outcome == "miss"
    assert "similar" in other.cache.reason
    assert provider().call_count == 2


def test_a_guard_turns_a_match_into_a_miss_and_says_so(door: Any, site: Site) -> None:
    ask(door, "how do I return 3 pairs of shoes please today")
    other = ask(door, "how do I return 8 pairs of shoes please today")
    assert other.cache.outcome == "miss"
    assert "numbers" in other.cache.reason


def test_without_guards_the_threshold_alone_decides(door: Any, site: Site) -> None:
    site(guards=[])
    ask(door, "how do I return 3 pairs of shoes please today")
    assert ask(door, "how do I return 8 pairs of shoes please today").cache.hit


def test_the_threshold_is_the_settings(door: Any, site: Site) -> None:
    site(similarity_threshold=0.99)
    ask(door)
    assert ask(door, SIMILAR).cache.outcome == "miss"


@pytest.mark.parametrize(
    "difference",
    [
        {"model": "m2"},
        {"temperature": 0.5},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        {"cache": {"scope": "somebody else"}},
        {"cache": {"namespace": "elsewhere"}},
        {"messages": messages(SIMILAR, {"role": "system", "content": "Be brief."})},
        {
            "messages": messages(
                SIMILAR,
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hello!"},
            )
        },
        {
            "messages": messages(
                [
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                    {"type": "text", "text": SIMILAR},
                ]
            )
        },
        {"extra_headers": {"x-tenant": "another"}},
    ],
    ids=["model", "temperature", "tools", "scope", "namespace", "system", "turns", "image", "head"],
)
def test_nothing_matches_across_anything_else_of_the_key(
    door: Any, site: Site, difference: dict[str, Any]
) -> None:
    ask(door)
    assert ask(door, SIMILAR, **difference).cache.outcome == "miss"


def test_within_equal_turns_the_last_message_matches(door: Any, site: Site) -> None:
    before = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    first = ask(door, messages=messages(STORED, *before))
    assert ask(door, messages=messages(SIMILAR, *before)).id == first.id


def test_the_text_beside_an_equal_image_matches(door: Any, site: Site) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    first = ask(door, [image, {"type": "text", "text": STORED}])
    assert ask(door, [image, {"type": "text", "text": SIMILAR}]).id == first.id
    another = {"type": "image_url", "image_url": {"url": "https://example.com/b.png"}}
    assert ask(door, [another, {"type": "text", "text": SIMILAR}]).id != first.id


def test_prompts_and_inputs_of_the_other_kinds_match_too(door: Any, site: Site) -> None:
    first = door.text_completion("m", prompt=STORED)
    assert door.text_completion("m", prompt=SIMILAR).id == first.id
    first = door.responses("m", input=STORED, instructions="Be brief.")
    assert door.responses("m", input=SIMILAR, instructions="Be brief.").id == first.id
    assert door.responses("m", input=SIMILAR, instructions="Be long.").id != first.id


def test_embeddings_are_never_matched_by_similarity(door: Any, site: Site) -> None:
    door.embedding("m", input=STORED)
    assert door.embedding("m", input=SIMILAR).cache.outcome == "miss"
    assert door.embedding("m", input=STORED).cache.outcome == "hit"
    assert WordEmbedder.texts == []


def test_a_stream_is_served_from_a_similar_one_and_the_other_way_round(
    door: Any, site: Site
) -> None:
    stored = ask(door, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in door.chunks(stored))
    similar = ask(door, SIMILAR, stream=True)
    chunks = door.chunks(similar)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text
    assert similar.cache.outcome == "hit"
    assert ask(door, SIMILAR).choices[0].message.content == text
    assert provider().call_count == 1


def test_many_identical_questions_at_once_cost_one_embedding_and_one_call(
    door: Any, site: Site
) -> None:
    provider().latency = 0.2
    answers = door.together(20, model="m", messages=messages(STORED))
    assert len({answer.id for answer in answers}) == 1
    assert provider().call_count == 1
    assert WordEmbedder.texts == [STORED]


def test_many_similar_questions_at_once_cost_one_embedding_and_no_call(
    door: Any, site: Site
) -> None:
    first = ask(door)
    answers = door.together(20, model="m", messages=messages(SIMILAR), temperature=0)
    assert {answer.id for answer in answers} == {first.id}
    assert provider().call_count == 1


def test_an_embedder_that_fails_is_a_miss_and_costs_one_try(
    door: Any, site: Site, counted: Callable[[str], int]
) -> None:
    site(embedder={"BACKEND": WORDS, "OPTIONS": {"fail": True}})
    answer = ask(door)
    assert answer.cache.outcome == "miss"
    assert "could not be embedded" in answer.cache.reason
    assert counted("embedding_error") == 1
    assert ask(door).cache.outcome == "hit"  # the exact key works all the same


def test_a_text_that_the_model_cannot_read_whole_matches_nothing(door: Any, site: Site) -> None:
    site(embedder={"BACKEND": WORDS, "OPTIONS": {"most": 5}})
    ask(door)
    answer = ask(door, SIMILAR)
    assert answer.cache.outcome == "miss"
    assert "too long" in answer.cache.reason


def test_what_embedding_costs_is_noted(door: Any, site: Site) -> None:
    site(embedder={"BACKEND": WORDS, "OPTIONS": {"cost": 0.25}})
    assert ask(door).cache.lookup_cost == 0.25
    assert ask(door, SIMILAR).cache.lookup_cost == 0.25
    assert ask(door).cache.lookup_cost == 0.0


def test_a_store_of_ones_own_functions_matches_nothing(site: Site) -> None:
    cache = llmcache.Cache.over(llmcache.backends.stores["default"])  # type: ignore[attr-defined]
    cache.get_cache = lambda **kwargs: None
    llmcache.cache = cache
    ask(llmcache)
    assert not ask(llmcache, SIMILAR).cache.hit
    assert WordEmbedder.texts == []


def test_a_layer_in_memory_over_it_changes_nothing(
    door: Any, site: Site, store_settings: dict[str, Any]
) -> None:
    stores = {
        "near": {"BACKEND": "llmcache.backends.memory.MemoryBackend"},
        "far": {**store_settings, "OPTIONS": {"embedder": WORDS}},
        "default": {
            "BACKEND": "llmcache.backends.layered.LayeredBackend",
            "OPTIONS": {"layers": ["near", "far"]},
        },
    }
    with override_settings(LLMCACHE=stores):
        first = ask(door)
        similar = ask(door, SIMILAR)
        assert similar.id == first.id
        assert similar.cache.layer == "far"


@pytest.mark.parametrize("kind", ["thread", "inline"])
def test_whoever_writes_the_vector_goes_with_the_entry(door: Any, site: Site, kind: str) -> None:

    site({"WRITER": kind})
    first = ask(door)
    writer.flush()
    assert ask(door, SIMILAR).id == first.id


def test_a_vector_that_somebody_else_wrote_leads_to_no_other_questions_answer(
    door: Any, site: Site, counted: Callable[[str], int]
) -> None:
    secret = ask(door, "what is the code of the safe", cache={"scope": "the boss"})
    ask(door, OTHER)
    ours = stores["default"]
    cache = caching.for_alias("default")
    assert cache is not None and isinstance(ours, SemanticBackend)
    matcher = matching.for_store(cache)
    assert matcher is not None
    found = engine.plan(build("completion", "m", {"messages": messages(STORED)}), cache)
    assert found.material is not None
    question = matcher.question({**found.material, "params": {"messages": messages(STORED)}})
    assert question is not None
    embedded = matcher.embedder.embed(STORED)
    assert embedded is not None
    forged = Vector(
        digest=secret.cache.key,
        partition=question.partition,
        space=embedded.space,
        prompt=STORED,
        data=embedded.data,
        expires=None,
    )
    ours.add([forged])
    answer = door.completion("m", messages=messages(SIMILAR))
    assert answer.id != secret.id
    assert "another question" in answer.cache.reason
    assert counted("foreign_vector") == 1
