"""The key is different for every different question and the same for the same one."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest
from django.core.files.base import ContentFile
from django.utils.functional import lazystr
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcache import diff_keys, explain_key, keys
from llmcache.exceptions import InvalidRequest
from tests.extras import needs

ASK = [{"role": "user", "content": "Why is the sky blue?"}]


def digest(model: str = "gpt-4o-mini", messages: Any = ASK, **kwargs: Any) -> str:
    return explain_key(model, messages=messages, **kwargs)["digest"]


def test_a_number_and_its_text_have_different_keys() -> None:
    assert digest(seed=1) != digest(seed="1")
    assert digest(stop=["1"]) != digest(stop=[1])


def test_texts_that_join_to_the_same_have_different_keys() -> None:
    def ask(*contents: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": content} for content in contents]

    assert digest(messages=ask("ab", "c")) != digest(messages=ask("a", "bc"))
    assert digest(messages=ask("a\nb")) != digest(messages=ask("a", "b"))


def test_order_of_arguments_and_of_dict_keys_does_not_matter() -> None:
    one = digest(temperature=0.1, seed=7, messages=[{"role": "user", "content": "x"}])
    two = digest(seed=7, messages=[{"content": "x", "role": "user"}], temperature=0.1)
    assert one == two


def test_order_of_messages_matters() -> None:
    first, second = {"role": "user", "content": "a"}, {"role": "user", "content": "b"}
    assert digest(messages=[first, second]) != digest(messages=[second, first])


@pytest.mark.parametrize(
    "change",
    [
        {"model": "gpt-4o"},
        {"temperature": 0.5},
        {"max_tokens": 5},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}},
        {"a_parameter_of_tomorrow": True},
        {"extra_body": {"top_k": 3}},
        {"extra_headers": {"X-Persona": "pirate"}},
        {"extra_query": {"version": "2"}},
        {"base_url": "http://127.0.0.1:9/v1"},
        {"user": "ann"},
        {"cache": {"namespace": "n"}},
        {"cache": {"scope": "n"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_can_change_the_answer_changes_the_key(change: dict[str, Any]) -> None:
    assert digest(**change) != digest()


@pytest.mark.parametrize(
    "change",
    [
        {"stream": True},
        {"stream_options": {"include_usage": True}},
        {"api_key": "sk-1"},
        {"timeout": 3},
        {"max_retries": 5},
        {"metadata": {"trace": "1"}},
        {"caching": True},
        {"cache": {"ttl": 5, "s-maxage": 9, "tags": ["a"]}},
        {"extra_headers": {"Authorization": "Bearer x", "X-Request-Id": "1"}},
        {"temperature": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_cannot_change_the_answer_does_not_change_the_key(change: dict[str, Any]) -> None:
    assert digest(**change) == digest()


def test_an_integer_temperature_is_the_float_that_equals_it() -> None:
    assert digest(temperature=0) == digest(temperature=0.0)


def test_namespace_and_scope_of_one_name_are_apart() -> None:
    assert digest(cache={"namespace": "x"}) != digest(cache={"scope": "x"})


def test_call_families_do_not_share_keys() -> None:
    texts = {
        explain_key("m", kind=kind, **{name: "x"})["digest"]
        for kind, name in [
            ("text_completion", "prompt"),
            ("responses", "input"),
            ("embedding", "input"),
        ]
    }
    assert len(texts) == 3


def make_class(name: str, **fields: Any) -> type[pydantic.BaseModel]:
    return pydantic.create_model(name, **fields)


def test_pydantic_classes_key_by_their_schema_not_their_name() -> None:
    one, other = make_class("Answer", text=(str, ...)), make_class("Answer", number=(int, ...))
    assert digest(response_format=one) != digest(response_format=other)
    again = make_class("Answer", text=(str, ...))
    assert digest(response_format=one) == digest(response_format=again)


@needs("openai")
def test_messages_may_be_objects_of_an_sdk() -> None:
    from openai.types.chat import ChatCompletionMessage

    said = ChatCompletionMessage(role="assistant", content="Hello")
    assert digest(messages=[*ASK, said]) == digest(
        messages=[*ASK, {"role": "assistant", "content": "Hello"}]
    )


def test_lazy_translations_key_as_their_text() -> None:
    lazy = [{"role": "user", "content": lazystr("Why is the sky blue?")}]
    assert digest(messages=lazy) == digest()


def test_integer_dict_keys_travel_as_text_and_key_as_text() -> None:
    assert digest(logit_bias={50256: -100}) == digest(logit_bias={"50256": -100})


@dataclass
class Opaque:
    inner: object


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, math.nan, math.inf, [{"deep": -math.inf}], b"raw", "\ud800", 1 << 70],
    ids=["object", "set", "nan", "infinity", "deep", "bytes", "surrogate", "huge"],
)
def test_what_has_no_json_form_is_uncacheable(value: object) -> None:
    with pytest.raises(keys.Uncacheable):
        digest(strange=value)


def test_a_nan_does_not_share_a_key_with_none() -> None:
    assert digest(extra_body={"x": None})
    with pytest.raises(keys.Uncacheable):
        digest(extra_body={"x": math.nan})


def test_a_message_that_holds_itself_is_uncacheable() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(keys.Uncacheable):
        digest(messages=loop)


class TestFiles:
    def key(self, file: Any) -> str:
        return explain_key("whisper-1", kind="transcription", file=file)["digest"]

    def test_files_key_by_their_bytes_never_their_name(self, tmp_path: Any) -> None:
        path = tmp_path / "a.wav"
        path.write_bytes(b"RIFFsound")
        with path.open("rb") as opened:
            assert (
                self.key(b"RIFFsound")
                == self.key(io.BytesIO(b"RIFFsound"))
                == self.key(path)
                == self.key(opened)
                == self.key(("b.wav", b"RIFFsound", "audio/wav"))
                == self.key(ContentFile(b"RIFFsound", name="c.wav"))
            )
        assert self.key(b"RIFFsound") != self.key(b"RIFFnoise")

    def test_the_position_of_an_open_file_is_put_back(self) -> None:
        file = io.BytesIO(b"RIFFsound")
        file.seek(4)
        assert self.key(file) == self.key(b"RIFFsound")
        assert file.tell() == 4

    def test_a_file_that_cannot_be_read_twice_is_uncacheable(self) -> None:
        class Pipe(io.RawIOBase):
            def seekable(self) -> bool:
                return False

        with pytest.raises(keys.Uncacheable):
            self.key(Pipe())


def test_headers_show_in_the_material_only_as_hashes() -> None:
    material = explain_key(
        "m",
        messages=ASK,
        api_key="sk-secret",
        extra_headers={"X-Secret": "hunter2", "Authorization": "Bearer hunter3"},
        extra_query={"token": "hunter4"},
    )
    for secret in ("hunter", "sk-secret"):
        assert secret not in repr(material)


def test_the_callers_own_key_replaces_the_parameters_but_not_the_scope() -> None:
    mine = {"key": "greeting"}
    other = [{"role": "user", "content": "other"}]
    assert digest(cache=mine) == digest(cache=mine, messages=other, model="another")
    assert digest(cache=mine) != digest(cache={**mine, "scope": "b"})
    assert digest(cache=mine) != digest()


def test_diff_keys_tells_why_two_calls_differ() -> None:
    first = explain_key("m", messages=ASK, temperature=0.1)
    second = explain_key("m", messages=[{"role": "user", "content": "Hello"}], temperature=0.2)
    assert diff_keys(first, second) == {
        "params.messages[0].content": ("Why is the sky blue?", "Hello"),
        "params.temperature": (0.1, 0.2),
    }
    assert diff_keys(first, first) == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


def shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(list(value))}
    if isinstance(value, list):
        return [shuffled(part) for part in value]
    return value


def exact(value: Any) -> Any:
    """A form whose equality tells 1 from True, which Python's own does not."""
    if isinstance(value, dict):
        return {name: exact(part) for name, part in value.items()}
    if isinstance(value, list):
        return [exact(part) for part in value]
    return (type(value).__name__, value)


@settings(max_examples=200, deadline=None)
@given(json_values, json_values)
def test_keys_are_equal_exactly_when_the_parameters_are(one: Any, other: Any) -> None:
    first, second = keys.digest_of({"params": one}), keys.digest_of({"params": other})
    assert (first == second) == (exact(one) == exact(other))
    assert keys.digest_of({"params": shuffled(one)}) == first


@pytest.mark.parametrize("kind", [int, Exception])
def test_a_class_that_has_no_schema_is_refused_as_a_format(kind: type) -> None:
    with pytest.raises(InvalidRequest, match=f"not the class {kind.__name__}"):
        digest(response_format=kind)
