"""A recorded stream and the whole answer amount to each other, in shapes the OpenAI SDK accepts."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from llmcache.streams import assemble, cut_text, finish_reasons, split, usage_of
from llmcache.usage import Usage

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
NAME = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
COUNT = st.integers(0, 10**6)
TOKEN = st.fixed_dictionaries(
    {"token": TEXT, "logprob": st.floats(-20, 0), "bytes": st.none(), "top_logprobs": st.just([])}
)
USAGE = st.fixed_dictionaries(
    {"prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT},
    optional={"prompt_tokens_details": st.fixed_dictionaries({"cached_tokens": COUNT})},
)
FUNCTION = st.fixed_dictionaries({"name": NAME, "arguments": TEXT})
TOOL_CALL = st.fixed_dictionaries({"id": NAME, "type": st.just("function"), "function": FUNCTION})
MESSAGE = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | TEXT},
    optional={
        "refusal": st.none() | TEXT,
        "reasoning_content": TEXT,
        "annotations": st.just([]),
        "tool_calls": st.lists(TOOL_CALL, max_size=3),
        "function_call": FUNCTION,
    },
)
REASON = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])
LOGPROBS = st.none() | st.fixed_dictionaries({"content": st.lists(TOKEN), "refusal": st.none()})
COMMON = {"id": NAME, "created": st.integers(0, 2**31), "model": NAME}
OPTIONAL = {"usage": USAGE, "system_fingerprint": st.none() | NAME}


def numbered(of: dict[str, Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    choice = st.fixed_dictionaries(of, optional={"stop_reason": st.none() | TEXT})
    choices = st.lists(choice, min_size=1, max_size=3)
    return choices.map(lambda many: [{"index": at, **one} for at, one in enumerate(many)])


CHAT = st.fixed_dictionaries(
    {
        **COMMON,
        "object": st.just("chat.completion"),
        "choices": numbered({"message": MESSAGE, "logprobs": LOGPROBS, "finish_reason": REASON}),
    },
    optional=OPTIONAL,
)
COMPLETION = st.fixed_dictionaries(
    {
        **COMMON,
        "object": st.just("text_completion"),
        "choices": numbered(
            {"text": TEXT, "logprobs": st.none(), "finish_reason": st.just("stop")}
        ),
    },
    optional=OPTIONAL,
)
OUTPUT_TEXT = st.fixed_dictionaries(
    {"type": st.just("output_text"), "text": TEXT, "annotations": st.just([])}
)
REFUSAL = st.fixed_dictionaries({"type": st.just("refusal"), "refusal": TEXT})
OUTPUT_MESSAGE = st.fixed_dictionaries(
    {
        "type": st.just("message"),
        "id": NAME,
        "status": st.just("completed"),
        "role": st.just("assistant"),
        "content": st.lists(OUTPUT_TEXT | REFUSAL, max_size=2),
    }
)
FUNCTION_CALL = st.fixed_dictionaries(
    {
        "type": st.just("function_call"),
        "id": NAME,
        "call_id": NAME,
        "name": NAME,
        "arguments": TEXT,
        "status": st.just("completed"),
    }
)
RESPONSE = st.fixed_dictionaries(
    {
        "id": NAME,
        "object": st.just("response"),
        "created_at": st.integers(0, 2**31),
        "model": NAME,
        "status": st.sampled_from(["completed", "incomplete", "failed"]),
        "error": st.none(),
        "output": st.lists(OUTPUT_MESSAGE | FUNCTION_CALL, max_size=3),
        "parallel_tool_calls": st.just(True),
        "tool_choice": st.just("auto"),
        "tools": st.just([]),
    }
)
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def parsed(chunks: Iterable[bytes]) -> list[Any]:
    return [orjson.loads(chunk) for chunk in chunks]


def joined(kind: str, *chunks: dict[str, Any]) -> Any:
    return orjson.loads(assemble(kind, [orjson.dumps(chunk) for chunk in chunks]))


def chunk(delta: dict[str, Any], index: int = 0, **choice: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": index, "delta": delta, "finish_reason": None, **choice}],
    }


def message_of(*chunks: dict[str, Any]) -> Any:
    return joined("completion", *chunks)["choices"][0]["message"]


@given(CHAT)
def test_a_chat_answer_survives_being_split_and_assembled(body: dict[str, Any]) -> None:
    assert orjson.loads(assemble("completion", split("completion", orjson.dumps(body)))) == body


@given(COMPLETION)
def test_a_text_answer_survives_being_split_and_assembled(body: dict[str, Any]) -> None:
    raw = orjson.dumps(body)
    assert orjson.loads(assemble("text_completion", split("text_completion", raw))) == body


@given(RESPONSE)
def test_a_response_survives_being_split_and_assembled(body: dict[str, Any]) -> None:
    assert orjson.loads(assemble("responses", split("responses", orjson.dumps(body)))) == body


@settings(max_examples=40)
@given(CHAT)
def test_the_sdk_accepts_a_split_chat_answer(body: dict[str, Any]) -> None:
    chunks = split("completion", orjson.dumps(body))
    for raw in chunks:
        ChatCompletionChunk.model_validate_json(raw)
    ChatCompletion.model_validate_json(assemble("completion", chunks))


@settings(max_examples=40)
@given(COMPLETION)
def test_the_sdk_accepts_a_split_text_answer(body: dict[str, Any]) -> None:
    chunks = split("text_completion", orjson.dumps(body))
    Completion.model_validate_json(assemble("text_completion", chunks))


@settings(max_examples=40)
@given(RESPONSE)
def test_the_sdk_accepts_a_split_response(body: dict[str, Any]) -> None:
    chunks = split("responses", orjson.dumps(body))
    for raw in chunks:
        EVENT.validate_json(raw)
    Response.model_validate_json(assemble("responses", chunks))


@given(RESPONSE)
def test_the_events_of_a_response_are_numbered_without_a_gap(body: dict[str, Any]) -> None:
    events = parsed(split("responses", orjson.dumps(body)))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_the_events_of_a_response_come_in_the_documented_order() -> None:
    text = {"type": "output_text", "text": "Hello", "annotations": []}
    body = {
        "id": "resp_1",
        "status": "completed",
        "output": [
            {"type": "message", "id": "msg_1", "content": [text]},
            {"type": "function_call", "id": "fc_1", "name": "f", "arguments": "{}"},
        ],
    }
    events = parsed(split("responses", orjson.dumps(body)))
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert events[0]["response"]["output"] == []


@given(st.text(st.sampled_from("ab \n\t\u00e9\u4e2d\U0001f600"), max_size=200))
def test_text_is_cut_between_words_and_loses_nothing(text: str) -> None:
    pieces = cut_text(text)
    assert "".join(pieces) == text
    for before, after in pairwise(pieces):
        assert before[-1].isspace()
        assert not after[0].isspace()


def test_a_long_answer_is_replayed_in_several_pieces() -> None:
    body = {"choices": [{"message": {"content": "word " * 50}, "finish_reason": "stop"}]}
    assert len(split("completion", orjson.dumps(body))) >= 7


def test_the_usage_comes_last_and_without_choices() -> None:
    body = {
        "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1},
    }
    *chunks, last = parsed(split("completion", orjson.dumps(body)))
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 1}
    assert all("usage" not in chunk for chunk in chunks)


def test_arguments_of_parallel_tool_calls_are_joined_by_index() -> None:
    def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
        function = {"arguments": arguments, **more.pop("function", {})}
        return chunk({"tool_calls": [{"index": index, "function": function, **more}]})

    message = message_of(
        chunk({"role": "assistant", "content": None}),
        call(1, "", id="b", type="function", function={"name": "two"}),
        call(0, "", id="a", type="function", function={"name": "one"}),
        call(0, '{"x"'),
        call(1, "{}"),
        call(0, ":1}"),
    )
    assert message["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "one", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "two", "arguments": "{}"}},
    ]


@pytest.mark.parametrize("index", [{}, {"index": None}, {"index": 0}])
def test_tool_calls_that_only_their_ids_tell_apart_are_kept_apart(index: dict[str, Any]) -> None:
    def call(identifier: str) -> dict[str, Any]:
        function = {"name": "f", "arguments": identifier}
        return chunk({"tool_calls": [{**index, "id": identifier, "function": function}]})

    calls = message_of(call("a"), call("b"))["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ["a", "b"]
    assert all("index" not in call for call in calls)


def test_a_name_that_is_repeated_with_every_delta_is_not_doubled() -> None:
    function = {"name": "look", "arguments": "x"}
    delta = chunk({"tool_calls": [{"index": 0, "id": "a", "function": function}]})
    calls = message_of(delta, delta)["tool_calls"]
    assert calls == [{"id": "a", "function": {"name": "look", "arguments": "xx"}}]


def test_choices_that_come_interleaved_are_kept_apart() -> None:
    parts = [("b", 1), ("a", 0), ("B", 1), ("A", 0)]
    whole = joined("completion", *(chunk({"content": text}, index) for text, index in parts))
    assert [choice["message"]["content"] for choice in whole["choices"]] == ["aA", "bB"]


def test_logprobs_of_all_chunks_are_kept() -> None:
    def part(token: str) -> dict[str, Any]:
        return chunk({"content": token}, logprobs={"content": [{"token": token}], "refusal": None})

    whole = joined("completion", part("a"), part("b"))
    assert whole["choices"][0]["logprobs"]["content"] == [{"token": "a"}, {"token": "b"}]


def test_text_fields_that_we_do_not_know_grow_like_the_content() -> None:
    deltas = [{"reasoning": "I "}, {"reasoning": "think"}, {"content": "so"}]
    assert message_of(*map(chunk, deltas))["reasoning"] == "I think"


def test_padding_is_no_part_of_the_answer() -> None:
    whole = joined("completion", {**chunk({"content": "a"}), "obfuscation": "xK3", "usage": None})
    assert "obfuscation" not in whole
    assert "usage" not in whole


def test_a_stream_without_an_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="empty stream"):
        assemble("completion", [])
    with pytest.raises(ValueError, match="no final response"):
        assemble("responses", [b'{"type":"response.created","response":{}}'])


def test_usage_reads_the_same_from_every_kind_of_answer() -> None:
    chat = {
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 3},
    }
    response = {
        "input_tokens": 5,
        "output_tokens": 2,
        "input_tokens_details": {"cached_tokens": 3},
    }
    assert usage_of("completion", {"usage": chat}) == Usage(5, 2, 3)
    assert usage_of("responses", {"usage": response}) == Usage(5, 2, 3)
    assert usage_of("transcription", {"usage": response}) == Usage(5, 2, 3)
    assert usage_of("embedding", {"usage": {"prompt_tokens": 5, "total_tokens": 5}}) == Usage(5)
    assert usage_of("completion", {"usage": None}) == usage_of("completion", {}) == Usage()


def test_reasons_of_an_end_read_the_same_from_every_kind_of_answer() -> None:
    def cut(reason: str) -> dict[str, Any]:
        return {"status": "incomplete", "incomplete_details": {"reason": reason}}

    assert finish_reasons("responses", cut("max_output_tokens")) == {"length"}
    assert finish_reasons("responses", cut("content_filter")) == {"content_filter"}
    assert finish_reasons("responses", {"status": "completed"}) == {"stop"}
    several = {"choices": [{"finish_reason": "stop"}, {"finish_reason": "length"}]}
    assert finish_reasons("completion", several) == {"stop", "length"}
    assert finish_reasons("embedding", {"data": []}) == set()
