"""What counts as the question, and what as its partition."""

from __future__ import annotations

from typing import Any

import pytest

from llmcache.matching.question import Question, read


def material(kind: str = "completion", **params: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": kind,
        "model": "m",
        "provider": "p",
        "version": 1,
        "params": params,
    }


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def question(*messages: dict[str, Any], **params: Any) -> Question:
    found = read(material(messages=list(messages), **params))
    assert found is not None
    return found


def test_the_question_is_the_last_user_message() -> None:
    found = question({"role": "system", "content": "s"}, user("one"), user("two"))
    assert found.text == "two"


def test_equal_surroundings_are_one_partition_whatever_the_question() -> None:
    system = {"role": "system", "content": "s"}
    assert question(system, user("one")).partition == question(system, user("two")).partition


@pytest.mark.parametrize(
    "other",
    [
        question({"role": "system", "content": "t"}, user("one")),
        question(user("one")),
        question({"role": "system", "content": "s"}, user("zero"), user("one")),
        question({"role": "system", "content": "s"}, user("one"), temperature=1.0),
        question({"role": "system", "content": "s"}, {**user("one"), "name": "anna"}),
        question({"role": "system", "content": "s"}, user([{"type": "text", "text": "one"}])),
        question(
            {"role": "system", "content": "s"}, user("one"), {"role": "assistant", "content": "a"}
        ),
    ],
)
def test_other_surroundings_are_other_partitions(other: Question) -> None:
    assert question({"role": "system", "content": "s"}, user("one")).partition != other.partition


def test_of_several_parts_the_last_text_is_the_question() -> None:
    parts = [
        {"type": "text", "text": "a document"},
        {"type": "text", "text": "what does it say?"},
        {"type": "image_url", "image_url": {"url": "u"}},
    ]
    found = question(user(parts))
    assert found.text == "what does it say?"
    another = [{"type": "text", "text": "another"}, *parts[1:]]
    assert question(user(another)).partition != found.partition


@pytest.mark.parametrize(
    "nothing",
    [
        material("embedding", input="text"),
        {**material("transcription"), "file": "ab"},
        {"schema": 1, "kind": "completion", "version": 1, "key": "mine"},
        material(messages=[]),
        material(messages=[{"role": "assistant", "content": "hello"}]),
        material(messages=[user("")]),
        material(messages=[user("  \n")]),
        material(messages=[user([{"type": "image_url", "image_url": {"url": "u"}}])]),
        material(messages=[user(None)]),
        material(messages="text of no message"),
        material("text_completion", prompt=["one", "two"]),
        material("text_completion", prompt=[1, 2, 3]),
        material("responses", input=[{"type": "function_call_output", "output": "x"}]),
    ],
)
def test_what_asks_nothing_in_words_has_no_question(nothing: dict[str, Any]) -> None:
    assert read(nothing) is None


def test_no_text_can_pose_as_the_place_of_the_question() -> None:
    mark = {"the question": True}
    one = question(user("x"))
    other = read(material(messages=[user([{"type": "text", "text": "x"}]), user(mark)]))
    assert other is None or other.partition != one.partition
