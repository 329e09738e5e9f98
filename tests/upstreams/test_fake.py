"""The fake provider is deterministic, counts, fails when told to, and the OpenAI SDK reads it."""

from __future__ import annotations

import asyncio
import base64
import struct
import threading
from typing import Any

import orjson
import pytest
from django.core.exceptions import ImproperlyConfigured
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.audio import Transcription
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from llmcache.conf import ProviderSettings
from llmcache.exceptions import RateLimited, ServerFailed
from llmcache.upstreams.base import UpstreamRequest
from llmcache.upstreams.fake import FakeUpstream

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
PARAMS: dict[str, dict[str, Any]] = {
    "completion": {"messages": [{"role": "user", "content": "Hi there"}]},
    "text_completion": {"prompt": "Hi there"},
    "responses": {"input": "Hi there"},
    "embedding": {"input": ["Hi there", "you"]},
    "transcription": {"file": ("a.wav", b"RIFF")},
}
ANSWERS: dict[str, Any] = {
    "completion": ChatCompletion,
    "text_completion": Completion,
    "responses": Response,
    "embedding": CreateEmbeddingResponse,
    "transcription": Transcription,
}
CHUNKS: dict[str, TypeAdapter[Any]] = {
    "completion": TypeAdapter(ChatCompletionChunk),
    "responses": TypeAdapter(ResponseStreamEvent),
}


def fake(**options: Any) -> FakeUpstream:
    return FakeUpstream(ProviderSettings(name="default", options=options))


def request(kind: str = "completion", **params: Any) -> UpstreamRequest:
    return UpstreamRequest(kind=kind, model="m", params={**PARAMS[kind], **params})


def call(upstream: FakeUpstream, kind: str = "completion", **params: Any) -> Any:
    return orjson.loads(upstream.call(request(kind, **params)))


def said(answer: Any) -> str:
    return str(answer["choices"][0]["message"]["content"])


async def all_of(upstream: FakeUpstream, asked: UpstreamRequest) -> list[bytes]:
    return [chunk async for chunk in upstream.astream(asked)]


@pytest.mark.parametrize("kind", sorted(ANSWERS))
def test_the_sdk_reads_every_kind_of_answer(kind: str) -> None:
    upstream = fake()
    ANSWERS[kind].model_validate_json(upstream.call(request(kind)))
    ANSWERS[kind].model_validate_json(asyncio.run(upstream.acall(request(kind))))
    assert upstream.call_count == 2


@pytest.mark.parametrize("kind", sorted(CHUNKS))
def test_the_sdk_reads_every_kind_of_stream(kind: str) -> None:
    upstream = fake()
    chunks = [*upstream.stream(request(kind)), *asyncio.run(all_of(upstream, request(kind)))]
    for chunk in chunks:
        CHUNKS[kind].validate_json(chunk)
    assert upstream.call_count == 2


def test_the_same_history_gives_the_same_bytes() -> None:
    first, second = fake(), fake()
    assert first.call(request()) == second.call(request())


def test_two_calls_differ_in_their_ids_alone() -> None:
    upstream = fake()
    first, second = call(upstream), call(upstream)
    assert first.pop("id") != second.pop("id")
    assert first == second


def test_answers_are_looked_up_by_prompt() -> None:
    upstream = fake(responses={"Hi there": "Hello!"})
    assert said(call(upstream)) == "Hello!"
    assert call(upstream, "responses")["output"][0]["content"][0]["text"] == "Hello!"
    assert "Who?" in said(call(upstream, messages=[{"role": "user", "content": "Who?"}]))


def test_answers_may_come_from_a_function_of_the_request() -> None:
    assert said(call(fake(responses=lambda asked: f"{asked.model} says hi"))) == "m says hi"


def test_the_text_among_content_parts_is_the_prompt() -> None:
    parts = [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "x"}}]
    upstream = fake(responses={"Hi": "Hello!"})
    assert said(call(upstream, messages=[{"role": "user", "content": parts}])) == "Hello!"


def test_usage_counts_words() -> None:
    usage = call(fake(responses={"Hi there": "one two three"}))["usage"]
    assert usage == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "look_up"}}]
)
def test_a_demanded_tool_is_called(choice: Any) -> None:
    answer = call(fake(), tools=[TOOL], tool_choice=choice)["choices"][0]
    assert answer["finish_reason"] == "tool_calls"
    function = answer["message"]["tool_calls"][0]["function"]
    assert function["name"] == "look_up"
    assert orjson.loads(function["arguments"])


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_a_tool_that_is_only_offered_is_not_called(choice: str) -> None:
    assert said(call(fake(), tools=[TOOL], tool_choice=choice)) == "You said: Hi there"


def test_it_fails_as_often_as_told() -> None:
    upstream = fake(fail=429, fail_times=2)
    for _ in range(2):
        with pytest.raises(RateLimited):
            upstream.call(request())
    assert call(upstream)["choices"]
    assert upstream.call_count == 3


def test_it_fails_with_the_exception_it_was_given_in_streams_too() -> None:
    upstream = fake(fail=ServerFailed("down", status=503))
    with pytest.raises(ServerFailed, match="down"):
        next(iter(upstream.stream(request())))
    with pytest.raises(ServerFailed, match="down"):
        asyncio.run(all_of(upstream, request()))


def test_reset_forgets_calls_and_failures() -> None:
    upstream = fake(fail=500, fail_times=1)
    with pytest.raises(ServerFailed):
        upstream.call(request())
    upstream.reset()
    assert upstream.calls == []
    assert call(upstream)["choices"]
    upstream.fail = 500
    with pytest.raises(ServerFailed):
        upstream.call(request())


def test_embeddings_are_unit_vectors_that_depend_on_the_text_alone() -> None:
    upstream = fake(dimensions=16)
    first, second = call(upstream, "embedding")["data"]
    assert (first["index"], second["index"]) == (0, 1)
    assert first["embedding"] != second["embedding"]
    assert sum(x * x for x in first["embedding"]) == pytest.approx(1, abs=1e-5)
    assert call(upstream, "embedding", input="you")["data"][0]["embedding"] == second["embedding"]
    assert len(call(upstream, "embedding", dimensions=4)["data"][0]["embedding"]) == 4
    assert len(call(upstream, "embedding", input=[1, 2, 3])["data"]) == 1


def test_embeddings_come_as_base64_when_asked() -> None:
    plain = call(fake(), "embedding")["data"][0]["embedding"]
    coded = call(fake(), "embedding", encoding_format="base64")["data"][0]["embedding"]
    assert struct.unpack("<8f", base64.b64decode(coded)) == pytest.approx(plain)


def test_calls_from_many_threads_are_all_counted() -> None:
    upstream = fake()
    ids: list[str] = []

    def work() -> None:
        ids.extend(call(upstream)["id"] for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert upstream.call_count == 400
    assert len(set(ids)) == 400


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'latencey'.*Did you mean 'latency'"):
        fake(latencey=1)
