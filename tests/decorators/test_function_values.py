"""Which results of a function survive a store."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

import llmcache
from llmcache.decorators import cached
from tests.decorators.functions import Way


class Answer(BaseModel):
    text: str
    parts: list[int] = []


class Hidden(BaseModel):
    text: str
    secret: str = Field(default="", exclude=True)


@pytest.mark.parametrize(
    "value",
    [None, True, 1, -1.5, "", "ü\ud83d\ude00", b"\x00\n\\", [], {}, {"a": [1, {"b": None}]}, 2**63],
)
def test_a_value_comes_back_equal_and_of_its_type(way: Way, value: Any) -> None:
    value = (
        value.encode("utf-16", "surrogatepass").decode("utf-16") if type(value) is str else value
    )
    function = way.make(lambda: value)
    first, second = way(function), way(function)
    assert way.calls == 1
    assert (first, type(first)) == (second, type(second)) == (value, type(value))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((1, 2), "tuple"),
        ({1, 2}, "set"),
        ({"a": (1,)}, "tuple"),
        ({1: "a"}, "use strings as keys"),
        (datetime(2026, 1, 1, tzinfo=UTC), "datetime"),
        (mark_safe("x"), "SafeString"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (2**70, "64 bits"),
        (Decimal("1.0"), "Decimal"),
        ("\ud800", "JSON"),
        (object(), "object"),
        (Answer(text="a"), "give returns=Answer"),
    ],
)  # fmt: skip
def test_a_value_that_would_come_back_changed_is_returned_but_not_stored(
    way: Way, value: Any, words: str, caplog: Any
) -> None:
    function = way.make(lambda: value)
    assert way(function) is value and way(function) is value
    assert way.calls == 2
    assert words in caplog.text and "not stored" in caplog.text


def test_a_deep_value_is_returned_but_not_stored(way: Way) -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    function = way.make(lambda: deep)
    assert way(function) is deep and way(function) is deep


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
        | st.tuples(st.integers()) | st.dates(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
        max_leaves=8,
    )
)  # fmt: skip
def test_whatever_comes_back_is_what_was_returned(value: Any) -> None:
    llmcache.cache.backend.clear()
    function = cached(key="one")(lambda: value)
    first, second = function(), function()
    assert first is value
    assert repr(second) == repr(value)


def test_every_caller_has_a_copy_of_its_own(way: Way) -> None:
    function = way.make(lambda: {"a": [1]})
    for _ in range(3):
        value = way(function)
        assert value == {"a": [1]}
        value["a"].append(2)


def test_none_is_stored_unless_that_is_not_wanted(way: Way) -> None:
    stored, fresh = way.make(lambda: None, key="a"), way.make(lambda: None, store_none=False)
    for _ in range(2):
        assert way(stored) is None
    assert way.calls == 1
    for _ in range(2):
        assert way(fresh) is None
    assert way.calls == 3


def answer() -> Answer:
    return Answer(text="a\nb", parts=[1])


def optional_answer() -> Answer | None:
    return Answer(text="b")


def nameless() -> Any:
    return Answer(text="c")


@pytest.mark.parametrize(
    ("body", "options"), [(answer, {}), (optional_answer, {}), (nameless, {"returns": Answer})]
)
def test_pydantic_objects_come_back_as_their_class(way: Way, body: Any, options: Any) -> None:
    function = way.make(body, ttl=60, **options)
    first, second = way(function), way(function)
    assert way.calls == 1 and first == second and type(second) is Answer


def test_a_pydantic_object_that_hides_a_field_is_not_stored(way: Way) -> None:
    function = way.make(lambda: Hidden(text="a", secret="b"), returns=Hidden)
    assert way(function).secret == way(function).secret == "b"
    assert way.calls == 2


def test_a_response_comes_back_as_a_response_and_nested_calls_are_fine(
    way: Way, upstream: Any
) -> None:
    question = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    function = way.make(lambda: llmcache.completion(**question))
    first, second = way(function), way(function)
    assert (way.calls, upstream.call_count) == (1, 1)
    assert type(second) is llmcache.Response and second.raw == first.raw
    assert second.cache.outcome == "hit" and second.cache.saved_tokens == first.cache.usage.total


def test_an_object_of_another_class_than_was_named_is_not_stored(way: Way, caplog: Any) -> None:
    function = way.make(lambda: Hidden(text="a"), returns=Answer)
    assert type(way(function)) is type(way(function)) is Hidden and way.calls == 2
    assert "give returns=Hidden" in caplog.text


def test_an_object_whose_json_its_own_class_refuses_is_not_stored(way: Way, caplog: Any) -> None:
    function = way.make(lambda: Answer.model_construct(text="a", parts="no list"), returns=Answer)
    assert way(function).parts == way(function).parts == "no list" and way.calls == 2
    assert "does not come back equal" in caplog.text


@pytest.mark.parametrize(
    "usage",
    [{"prompt_tokens": "many"}, {"prompt_tokens": [1]}, {"input_tokens": 1e300}, "none", [1]],
)
def test_figures_that_are_none_are_no_reason_not_to_store(way: Way, usage: Any) -> None:
    result = {"usage": usage, "text": "a"}
    function = way.make(lambda: result, key=str(usage))
    assert way(function) == way(function) == result and way.calls == 1
