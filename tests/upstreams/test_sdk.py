"""The official OpenAI client reads our streams off the wire: what we replay is what it expects."""

from __future__ import annotations

from typing import Any

import openai
import orjson
import pytest

from llmcache.conf import ProviderSettings
from llmcache.upstreams.base import UpstreamRequest
from llmcache.upstreams.fake import FakeUpstream
from tests.servers.provider import Provider, encode, stream

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
TOOL: Any = {"type": "function", "function": {"name": "look_up", "parameters": {}}}


@pytest.fixture
def client(provider: Provider) -> openai.OpenAI:
    return openai.OpenAI(base_url=provider.base_url, api_key="none", max_retries=0)


def replay(provider: Provider, kind: str, **params: Any) -> None:
    """Let the provider send the stream of the fake upstream's answer."""
    options = {"responses": {"Hi": "One two three, four five six, seven eight nine."}}
    fake = FakeUpstream(ProviderSettings(name="fake", options=options))
    chunks = list(fake.stream(UpstreamRequest(kind=kind, model="m", params=params)))
    if kind == "responses":
        provider.script(stream([encode(chunk, orjson.loads(chunk)["type"]) for chunk in chunks]))
    else:
        provider.script(stream([*map(encode, chunks), encode(b"[DONE]")]))


def test_the_client_assembles_a_replayed_chat(provider: Provider, client: openai.OpenAI) -> None:
    replay(provider, "completion", messages=MESSAGES)
    with client.chat.completions.stream(model="m", messages=MESSAGES) as events:
        final = events.get_final_completion()
    assert final.choices[0].message.content == "One two three, four five six, seven eight nine."
    assert final.choices[0].finish_reason == "stop"
    assert final.usage is not None
    assert final.usage.completion_tokens == 9


def test_the_client_assembles_a_replayed_tool_call(
    provider: Provider, client: openai.OpenAI
) -> None:
    replay(provider, "completion", messages=MESSAGES, tools=[TOOL], tool_choice="required")
    with client.chat.completions.stream(model="m", messages=MESSAGES) as events:
        (call,) = events.get_final_completion().choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert call.function.name == "look_up"
    assert orjson.loads(call.function.arguments) == {"text": "fake"}


def test_the_client_reads_a_replayed_text_completion(
    provider: Provider, client: openai.OpenAI
) -> None:
    replay(provider, "text_completion", prompt="Hi")
    chunks = list(client.completions.create(model="m", prompt="Hi", stream=True))
    text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert text == "One two three, four five six, seven eight nine."


def test_the_client_assembles_a_replayed_response(
    provider: Provider, client: openai.OpenAI
) -> None:
    replay(provider, "responses", input="Hi")
    with client.responses.stream(model="m", input="Hi") as events:
        final = events.get_final_response()
    assert final.output_text == "One two three, four five six, seven eight nine."
    assert final.status == "completed"
