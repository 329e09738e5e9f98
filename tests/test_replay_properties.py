"""Whatever events a provider sends, a replay has them all, and a plain call gets their sum."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcache import policy
from llmcache.streams import split
from llmcache.upstreams import upstreams
from llmcache.upstreams.base import UpstreamRequest
from llmcache.upstreams.fake import FakeUpstream
from tests.test_message_format import MESSAGE
from tests.test_streams import CHAT, COMPLETION, RESPONSE, TEXT, TOKEN, USAGE

ASKED: dict[str, dict[str, Any]] = {
    "completion": {"messages": [{"role": "user", "content": "hello"}]},
    "text_completion": {"prompt": "hello"},
    "responses": {"input": "hello"},
    "messages": {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 9},
}
EVERY = {"stream_options": {"include_usage": True}}
few = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_fresh = itertools.count()


class Scripted(FakeUpstream):
    """A provider whose streams have the events that it was given."""

    events: tuple[bytes, ...] = ()

    def stream(self, request: UpstreamRequest) -> Iterator[bytes]:
        self._begin(request)
        yield from self.events

    async def astream(self, request: UpstreamRequest) -> AsyncIterator[bytes]:
        self._begin(request)
        for event in self.events:
            yield event


@pytest.fixture(params=["disk", "redis"])
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scripted]:
    """The scripted provider, on a site with a real store."""
    store = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(tmp_path)}
    if request.param == "redis":
        store = {
            "BACKEND": "llmcache.backends.redis.RedisBackend",
            "LOCATION": request.getfixturevalue("redis_server").url,
            "KEY_PREFIX": str(tmp_path),
        }
    providers = {"default": {"BACKEND": f"{__name__}.Scripted"}}
    with override_settings(LLMCACHE={"default": store}, LLMCACHE_PROVIDERS=providers):
        scripted = upstreams["default"]
        assert isinstance(scripted, Scripted)
        yield scripted


def replayed(door: Any, provider: Scripted, kind: str, events: list[bytes]) -> Any:
    """The plain answer, once a live stream and its replay have been found to be the events."""
    provider.events = tuple(events)
    call = {"model": "m", **ASKED[kind], "cache": {"namespace": f"case {next(_fresh)}"}}
    ask = getattr(door, kind)
    streamed = {**call, "stream": True, **(EVERY if kind.endswith("completion") else {})}
    calls = provider.call_count
    for outcome in ("miss", "hit"):
        stream = ask(**streamed)
        assert [chunk.raw for chunk in door.chunks(stream)] == events
        assert (stream.cache.outcome, stream.cache.reason) == (outcome, "")
    plain = ask(**call)
    assert plain.cache.outcome == "hit" and provider.call_count == calls + 1
    return orjson.loads(plain.raw)


# --- what a provider would have said as a whole ---


def storable(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer, made to be whole and to say something."""
    for choice in body.get("choices", ()):
        if choice["finish_reason"] in ("length", "content_filter"):
            choice["finish_reason"] = "stop"
        if kind == "text_completion":
            choice["text"] = choice["text"] or "said"
        elif not choice["message"].get("tool_calls"):
            choice["message"]["content"] = choice["message"]["content"] or "said"
    if kind == "responses":
        said = {"type": "output_text", "text": "said", "annotations": []}
        message = {"type": "message", "id": "m", "status": "completed", "role": "assistant"}
        body["status"] = "completed"
        body["output"] = body["output"] or [{**message, "content": [said]}]
    if kind == "messages":
        body["stop_reason"] = "end_turn"
        body["content"] = body["content"] or [{"type": "text", "text": "said"}]
    return body


@pytest.mark.parametrize(
    ("kind", "bodies"),
    [
        ("completion", CHAT),
        ("text_completion", COMPLETION),
        ("responses", RESPONSE),
        ("messages", MESSAGE),
    ],
)
@few
@given(data=st.data())
def test_events_replay_and_amount_to_the_whole(
    door: Any, provider: Scripted, kind: str, bodies: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    body = storable(kind, data.draw(bodies))
    assert policy.refusal(kind, body) == ""
    assert replayed(door, provider, kind, split(kind, orjson.dumps(body))) == body


# --- chunks in any order that no whole answer of ours would be cut into ---

PIECE = st.sampled_from(["content", "refusal", "reasoning_content", "a_field_of_tomorrow"])
DELTA = st.one_of(
    st.tuples(PIECE, TEXT).map(lambda pair: {pair[0]: pair[1]}),
    st.just({}),
    st.just({"role": "assistant", "content": ""}),
    st.builds(
        lambda at, text, begins: {
            "tool_calls": [
                {
                    "index": at,
                    **({"id": f"call_{at}", "type": "function"} if begins else {}),
                    "function": {"arguments": text, **({"name": f"f{at}"} if begins else {})},
                }
            ]
        },
        st.integers(0, 2),
        TEXT,
        st.booleans(),
    ),
)
LOGPROBS = st.none() | st.builds(lambda tokens: {"content": tokens}, st.lists(TOKEN, max_size=2))
PART = st.tuples(st.integers(0, 2), DELTA, LOGPROBS)


def chunk(choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"} | {
        "choices": choices,
        **more,
    }


@few
@given(parts=st.lists(PART, max_size=12), usage=st.none() | USAGE, padding=TEXT)
def test_chunks_in_any_order_replay_and_are_joined(
    door: Any, provider: Scripted, parts: list[Any], usage: Any, padding: str
) -> None:
    indexes = sorted({index for index, *_ in parts} or {0})
    events = [
        chunk(
            [{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}],
            obfuscation=padding,
        )
        for index, delta, logprobs in parts
    ]
    for index in indexes:
        events.append(chunk([{"index": index, "delta": {"content": "end"}}]))
        events.append(chunk([{"index": index, "delta": {}, "finish_reason": "stop"}]))
    if usage is not None:
        events.append(chunk([], usage=usage))
    whole = replayed(door, provider, "completion", [orjson.dumps(event) for event in events])
    assert whole.get("usage") == usage and "obfuscation" not in whole
    assert [choice["index"] for choice in whole["choices"]] == indexes
    for choice in whole["choices"]:
        own = [part for part in parts if part[0] == choice["index"]]
        message = choice["message"]
        for name in ("content", "refusal", "reasoning_content", "a_field_of_tomorrow"):
            said = "".join(delta.get(name) or "" for _, delta, _ in own)
            assert (message.get(name) or "") == said + ("end" if name == "content" else "")
        tokens = [token for *_, given in own for token in (given or {}).get("content", [])]
        assert ((choice["logprobs"] or {}).get("content") or []) == tokens
        assert choice["finish_reason"] == "stop"
        assert arguments(message.get("tool_calls") or []) == pieces(own)


def arguments(calls: list[dict[str, Any]]) -> list[str]:
    assert all("index" not in call for call in calls)
    return [call["function"]["arguments"] for call in calls]


def pieces(parts: list[Any]) -> list[str]:
    """The arguments of each tool call, by its number, as the deltas have them."""
    found: dict[int, str] = {}
    for _, delta, _ in parts:
        for call in delta.get("tool_calls", ()):
            found[call["index"]] = found.get(call["index"], "") + call["function"]["arguments"]
    return [found[index] for index in sorted(found)]
