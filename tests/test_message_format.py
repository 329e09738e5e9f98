"""Anthropic's messages: stream and whole amount to each other, in shapes that the SDK accepts."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

import llmcache
from llmcache import policy
from llmcache.streams import assemble, finish_reasons, split, usage_of
from llmcache.upstreams.fake import FakeUpstream
from llmcache.usage import Usage
from tests.doors import AsyncDoor, SyncDoor

Door = SyncDoor | AsyncDoor
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
NAME = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
COUNT = st.integers(0, 10**6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
CITATION = st.fixed_dictionaries(
    {
        "type": st.just("char_location"),
        "cited_text": TEXT,
        "document_index": COUNT,
        "document_title": st.none() | TEXT,
        "start_char_index": COUNT,
        "end_char_index": COUNT,
        "file_id": st.none(),
    }
)
BLOCK = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("text"), "text": TEXT},
        optional={"citations": st.none() | st.lists(CITATION, min_size=1, max_size=2)},
    ),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": TEXT, "signature": NAME}),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": NAME}),
    st.fixed_dictionaries(
        {
            "type": st.just("tool_use"),
            "id": NAME,
            "name": NAME,
            "input": st.dictionaries(TEXT, JSON, max_size=3),
        }
    ),
)
MESSAGE = st.fixed_dictionaries(
    {
        "id": NAME,
        "type": st.just("message"),
        "role": st.just("assistant"),
        "model": NAME,
        "content": st.lists(BLOCK, max_size=4),
        "stop_reason": st.sampled_from(["end_turn", "max_tokens", "tool_use", "refusal"]),
        "stop_sequence": st.none() | TEXT,
        "usage": st.fixed_dictionaries(
            {"input_tokens": COUNT, "output_tokens": COUNT},
            optional={"cache_read_input_tokens": COUNT, "cache_creation_input_tokens": COUNT},
        ),
    }
)


@settings(max_examples=60, deadline=None)
@given(MESSAGE)
def test_a_message_cut_into_events_amounts_to_itself(message: dict[str, Any]) -> None:
    events = split("messages", orjson.dumps(message))
    for event in events:
        TypeAdapter(RawMessageStreamEvent).validate_json(event)
    whole = assemble("messages", events)
    assert orjson.loads(whole) == message
    Message.model_validate_json(whole)


def test_a_message_without_usage_or_a_signature_is_cut_without_them() -> None:
    message = {
        "type": "message",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Yes."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
    }
    events = split("messages", orjson.dumps(message))
    assert b"usage" not in b"".join(events) and b"signature" not in b"".join(events)
    assert orjson.loads(assemble("messages", events)) == message


def recorded(*deltas: dict[str, Any], block: dict[str, Any]) -> list[bytes]:
    begun = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**begun, "usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]
    return [orjson.dumps(event) for event in events]


def test_a_recorded_stream_becomes_the_message_with_its_usage() -> None:
    deltas = ({"type": "text_delta", "text": "Hel"}, {"type": "text_delta", "text": "lo"})
    whole = orjson.loads(
        assemble("messages", recorded(*deltas, block={"type": "text", "text": ""}))
    )
    assert whole["content"] == [{"type": "text", "text": "Hello"}]
    assert (whole["stop_reason"], whole["usage"]) == (
        "end_turn",
        {"input_tokens": 3, "output_tokens": 5},
    )


def test_a_tools_input_is_read_from_its_pieces() -> None:
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", '{"a"', ": 1}")]
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    whole = orjson.loads(assemble("messages", recorded(*deltas, block=block)))
    assert whole["content"][0]["input"] == {"a": 1}


@pytest.mark.parametrize("lost", [0, -1])
def test_a_stream_without_its_beginning_or_end_is_no_message(lost: int) -> None:
    events = recorded(block={"type": "text", "text": ""})
    del events[lost]
    with pytest.raises((ValueError, LookupError)):
        assemble("messages", events)


def test_what_the_providers_own_cache_read_is_part_of_the_input() -> None:
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 7,
        "output_tokens": 5,
    }
    assert usage_of("messages", {"usage": usage}) == Usage(117, 5, 100)


@pytest.mark.parametrize(
    ("reason", "stored"),
    [
        ("end_turn", True),
        ("tool_use", True),
        ("stop_sequence", True),
        ("max_tokens", False),
        ("refusal", False),
        ("pause_turn", False),
    ],
)
def test_only_whole_messages_are_stored(reason: str, stored: bool) -> None:
    body = {"content": [{"type": "text", "text": "x"}], "stop_reason": reason}
    assert (policy.refusal("messages", body) == "") is stored


def test_an_empty_message_is_not_stored() -> None:
    assert policy.refusal("messages", {"content": [], "stop_reason": "end_turn"})


def test_an_unknown_reason_to_end_is_passed_on() -> None:
    assert finish_reasons("messages", {"stop_reason": "new_reason"}) == {"new_reason"}


ASKED: dict[str, Any] = {
    "model": "claude",
    "max_tokens": 100,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Hello there"}],
}


def test_messages_are_cached(door: Door, upstream: FakeUpstream) -> None:
    first, second = door.messages(**ASKED), door.messages(**ASKED)
    assert (first.cache.outcome, second.cache.outcome) == ("miss", "hit")
    assert first == second
    assert second.content[0].text == "You said: Hello there"
    assert second.cache.saved_tokens == sum(first.usage.values())
    assert upstream.call_count == 1


def test_another_system_prompt_is_another_question(door: Door, upstream: FakeUpstream) -> None:
    door.messages(**ASKED)
    assert door.messages(**{**ASKED, "system": "Be long."}).cache.outcome == "miss"


def test_messages_share_no_entry_with_completions(door: Door, upstream: FakeUpstream) -> None:
    asked = {name: ASKED[name] for name in ("model", "messages")}
    door.completion(**asked)
    assert door.messages(**asked).cache.outcome == "miss"


def test_a_streamed_message_serves_a_plain_call_and_the_reverse(
    door: Door, upstream: FakeUpstream
) -> None:
    chunks = door.chunks(door.messages(**ASKED, stream=True))
    assert [chunk.type for chunk in chunks][-1] == "message_stop"
    whole = door.messages(**ASKED)
    assert whole.cache.outcome == "hit"
    assert whole.content[0].text == "You said: Hello there"
    again = door.messages(**ASKED, stream=True)
    assert again.cache.outcome == "hit"
    assert door.chunks(again) == chunks
    assert upstream.call_count == 1


class OnlyChat(FakeUpstream):
    """A provider that knows chat completions alone."""

    kinds = frozenset({"completion"})


@override_settings(LLMCACHE_PROVIDERS={"default": {"BACKEND": f"{__name__}.OnlyChat"}})
def test_a_provider_without_messages_is_named_with_what_it_has(door: Door) -> None:
    with pytest.raises(llmcache.InvalidRequest, match="'messages'; it has completion"):
        door.messages(**ASKED)
