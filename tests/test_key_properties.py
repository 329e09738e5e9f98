"""What a key tells apart and what it is blind to, over calls that nobody has thought of."""

from __future__ import annotations

import unicodedata
from itertools import combinations
from typing import Any

import pydantic
import pytest
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcache import explain_key, keys
from llmcache.calls import Call
from tests.test_keys import exact, json_values, make_class, shuffled

ASK = [{"role": "user", "content": "Why is the sky blue?"}]
E_ACUTE = "\u00e9"
VALUES: list[Any] = [
    *(0, 0.0, False, 1, 1.0, True, "", "0", "1", "1.0", "true", "True", "null", "None"),
    *([], {}, [None], [[]], [{}], {"": None}, {"a": None}, {"a": []}, {"a": {}}),
    *([1], ["1"], [[1]], [1, None], {"1": 1}, {"1": "1"}, {"a": 1, "b": 2}, {"a": {"b": 2}}),
    *(["a", "b"], ["ab"], ["a,b"], ['a","b'], [["a"], "b"], [["a", "b"]], "a", "a ", " a", "A"),
    *("a\x00", "a\n", "a\\n", "\ufeffa", unicodedata.normalize("NFD", E_ACUTE), E_ACUTE),
    *(2**53, 2**53 + 1, float(2**53), 2**63, 2**64 - 1, -(2**63), 1e300, 5e-324, 1e-7, "1e-07"),
]
"""No two of these are one value, though some are equal in Python and others look alike."""


def digest(model: str = "m", messages: Any = ASK, **kwargs: Any) -> str:
    return str(explain_key(model, messages=messages, **kwargs)["digest"])


@pytest.mark.parametrize(
    "put",
    [
        lambda value: {"a_parameter": value},
        lambda value: {"extra_body": {"a_parameter": value}},
        lambda value: {"messages": [{"role": "user", "content": [{"a_part": value}]}]},
        lambda value: {"tools": [{"function": {"parameters": {"deep": [value]}}}]},
    ],
    ids=["parameter", "extra_body", "message", "tool"],
)
def test_values_that_look_alike_have_different_keys_wherever_they_are(put: Any) -> None:
    digests = [digest(**put(value)) for value in VALUES]
    twins = [
        (VALUES[one], VALUES[other])
        for one, other in combinations(range(len(VALUES)), 2)
        if digests[one] == digests[other]
    ]
    assert twins == []
    assert digest() not in digests


def test_what_is_none_is_absent_as_a_parameter_and_null_within_one() -> None:
    assert digest(a_parameter=None) == digest()
    assert digest(extra_body={"a": None}) != digest(extra_body={}) != digest()


class Inner(pydantic.BaseModel):
    number: int = 1


def image(url: str) -> list[dict[str, Any]]:
    part = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]


APART: dict[str, list[dict[str, Any]]] = {
    "one name in other places": [
        *({"user": "a"}, {"cache": {"namespace": "a"}}, {"cache": {"scope": "a"}}),
        *({"cache": {"key": "a"}}, {"base_url": "http://a.example"}, {"model": "a"}),
        *({"extra_headers": {"x-user": "a"}}, {"extra_query": {"user": "a"}}, {"stop": "a"}),
        *({"cache": {"namespace": "a", "scope": "b"}}, {"cache": {"namespace": "b", "scope": "a"}}),
        *({"cache": {"namespace": "ab"}}, {"cache": {"namespace": "a", "scope": "a"}}),
    ],
    "addresses": [
        *({"base_url": "http://a.example/v1"}, {"base_url": "http://a.example/v2"}),
        *({"base_url": "https://a.example/v1"}, {"base_url": "http://a.example:81/v1"}),
    ],
    "headers and queries": [
        *({"extra_headers": {"x-a": "1"}}, {"extra_headers": {"x-a": "2"}}),
        *({"extra_headers": {"x-b": "1"}}, {"extra_headers": {"x-a": "1", "x-b": "1"}}),
        *({"extra_query": {"x-a": "1"}}, {"extra_query": {"x-a": 1}}, {"extra_query": {"a": ""}}),
    ],
    "classes": [
        {"response_format": make_class("A", number=(int, 1))},
        {"response_format": make_class("A", number=(int, 2))},
        {"response_format": make_class("A", number=(str, "1"))},
        {"response_format": make_class("A", numbers=(list[int], [1]))},
        {"response_format": make_class("A", inner=(Inner, ...))},
        {"tools": [make_class("A", number=(int, 1))]},
        {"tools": [Inner(number=1)]},
        {"tools": [Inner(number=2)]},
    ],
    "images": [
        *({"messages": image("data:image/png;base64,AAAA")},),
        *({"messages": image("data:image/png;base64,AAAB")},),
        *({"messages": image("https://a.example/1.png")},),
    ],
    "texts that imitate structure": [
        {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
        {"messages": [{"role": "user", "content": 'a"},{"role":"user","content":"b'}]},
        {"messages": [{"role": "user", "content": "a\nuser: b"}]},
        {"messages": [{"role": "user", "content": "a", "name": "b"}]},
        {"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]},
        {"messages": [{"role": "user", "content": ["a", "b"]}]},
        {"messages": [{"role": "user", "content": '["a","b"]'}]},
    ],
}


@pytest.mark.parametrize("name", APART)
def test_calls_that_differ_in_what_matters_have_different_keys(name: str) -> None:
    digests = [digest(**call) for call in [{}, *APART[name]]]
    assert len(set(digests)) == len(digests)


def test_another_version_of_the_store_is_another_key() -> None:
    digests = set()
    for version in (1, 2, 12):
        with override_settings(LLMCACHE={"default": {"VERSION": version}}):
            digests.add(digest())
    assert len(digests) == 3


TEXT = st.text(st.sampled_from('a1"\\,:[]{}\n \u00e9\u0301'), max_size=6)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system"]), "content": TEXT | st.lists(TEXT, max_size=2)},
        optional={"name": TEXT},
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MESSAGES, MESSAGES)
def test_conversations_share_a_key_only_if_they_are_equal(one: Any, other: Any) -> None:
    assert (digest(messages=one) == digest(messages=other)) == (one == other)
    assert digest(messages=shuffled(one)) == digest(messages=one)


NAMES = st.sampled_from(["seed", "stop", "temperature", "top_k", "user", "a_parameter"])
PARAMS = st.dictionaries(NAMES, json_values | st.sampled_from([0, 1, 0.5]), max_size=4)
WITHOUT_EFFECT = st.fixed_dictionaries(
    {},
    optional={
        "api_key": TEXT,
        "caching": st.just(True),
        "max_retries": st.integers(0, 9),
        "num_retries": st.integers(0, 9),
        "metadata": st.dictionaries(TEXT, TEXT, max_size=2),
        "request_timeout": st.integers(1, 9),
        "stream": st.booleans(),
        "stream_options": st.just({"include_usage": True}),
        "timeout": st.floats(1, 9),
        "extra_headers": st.dictionaries(
            st.sampled_from(["Authorization", "X-API-Key", "traceparent", "X-Stainless-Lang"]), TEXT
        ),
        "cache": st.fixed_dictionaries(
            {},
            optional={
                "caller": st.just("a"),
                "no-cache": st.booleans(),
                "no-store": st.booleans(),
                "only-if-cached": st.booleans(),
                "refresh-ttl-on-hit": st.booleans(),
                "s-maxage": st.integers(0, 9),
                "semantic": st.booleans(),
                "stale-if-error": st.integers(0, 9),
                "stale-while-revalidate": st.integers(0, 9),
                "tags": st.lists(st.sampled_from("ab"), max_size=2),
                "ttl": st.integers(0, 9),
                "use-cache": st.booleans(),
            },
        ),
    },
)


def meant(params: dict[str, Any]) -> Any:
    """What parameters mean: None says nothing, and a temperature of 1 is one of 1.0."""
    said = {name: value for name, value in params.items() if value is not None}
    if type(said.get("temperature")) is int:
        said["temperature"] = float(said["temperature"])
    return exact(said)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PARAMS, PARAMS, WITHOUT_EFFECT)
def test_only_what_can_change_the_answer_changes_the_key(
    one: dict[str, Any], other: dict[str, Any], more: dict[str, Any]
) -> None:
    assert digest(**one, **more) == digest(**one)
    assert digest(**shuffled({**more, **one})) == digest(**one)
    assert (digest(**one) == digest(**other)) == (meant(one) == meant(other))


def test_calls_are_stored_under_the_keys_that_explain_key_tells(door: Any) -> None:
    calls = [call for calls in APART.values() for call in calls if "tools" not in call]
    for call in ({}, *calls):
        asked = {"model": "m", "messages": ASK, **call}
        told = explain_key(**asked)["digest"]
        first, second = (door.completion(**asked).cache for _ in range(2))
        assert (first.outcome, first.key) == ("miss", told)
        assert (second.outcome, second.key) == ("hit", told)


NASTY = st.one_of(
    st.text(max_size=20), st.sampled_from(['"params":{}', '","params":{}', "\\", "{}"])
)


@given(
    kind=st.sampled_from(["completion", "text_completion", "responses", "messages", "view"]),
    names=st.tuples(NASTY, NASTY),
    space=st.tuples(st.none() | NASTY, st.none() | NASTY),
    version=st.integers(-5, 10**6),
    params=st.dictionaries(NASTY | st.just("params"), json_values, max_size=4),
)
def test_the_key_of_a_plain_call_is_that_of_its_material(
    kind: str, names: Any, space: Any, version: int, params: dict[str, Any]
) -> None:
    call = Call(kind, False, "m", params)
    assert keys.is_plain(call)
    material = keys.material(
        call,
        model=names[0],
        provider=names[1],
        namespace=space[0],
        scope=space[1],
        version=version,
    )
    assert keys.plain_digest(kind, *names, *space, version, params) == keys.digest_of(material)
