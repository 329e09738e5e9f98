"""The official SDKs talk to the endpoint unchanged: base_url and key are all they are given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from llmcache.upstreams.fake import FakeUpstream

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi there"}]}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {}}}


@pytest.fixture
def client(server: str, key: Callable[..., str]) -> openai.OpenAI:
    """OpenAI's SDK in front of the endpoint."""
    return openai.OpenAI(base_url=f"{server}/llm/v1", api_key=key(), max_retries=0)


@pytest.fixture
def claude(server: str, key: Callable[..., str]) -> anthropic.Anthropic:
    """Anthropic's SDK in front of the endpoint."""
    return anthropic.Anthropic(base_url=f"{server}/llm", api_key=key(), max_retries=0)


def test_chats(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    create = client.chat.completions.with_raw_response.create
    miss, hit = create(**CHAT), create(**CHAT)
    assert miss.parse() == hit.parse()
    assert hit.parse().choices[0].message.content == "You said: Hi there"
    assert hit.headers["x-llmcache-outcome"] == "hit"
    assert hit.headers["x-request-id"].startswith("req_")
    assert miss.headers["x-request-id"] != hit.headers["x-request-id"]
    assert upstream.call_count == 1


def test_streams(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    usage = {"include_usage": True}
    found = [
        list(client.chat.completions.create(**CHAT, stream=True, stream_options=usage))
        for _ in range(2)
    ]
    assert found[0] == found[1]
    said = [chunk.choices[0].delta.content or "" for chunk in found[0] if chunk.choices]
    assert "".join(said) == "You said: Hi there"
    assert found[0][-1].usage.total_tokens > 0
    assert upstream.call_count == 1


def test_tools(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    asked = {**CHAT, "tools": [TOOL], "tool_choice": "required"}
    whole = client.chat.completions.create(**asked)
    assert whole.choices[0].message.tool_calls[0].function.name == "weather"
    chunks = list(client.chat.completions.create(**asked, stream=True))
    assert any(chunk.choices[0].delta.tool_calls for chunk in chunks if chunk.choices)
    assert upstream.call_count == 1


def test_responses(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    whole = client.responses.create(model="m", input="Hi there")
    assert whole.output_text == "You said: Hi there"
    with client.responses.stream(model="m", input="Hi there") as stream:
        assert stream.get_final_response().output_text == whole.output_text
    assert upstream.call_count == 1


def test_embeddings(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    first = client.embeddings.create(model="m", input=["a", "b"])
    second = client.embeddings.create(model="m", input=["b", "c", "a"])
    assert second.data[0].embedding == first.data[1].embedding
    assert [call.params["input"] for call in upstream.calls] == [["a", "b"], ["c"]]


def test_completions_and_transcriptions(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    for _ in range(2):
        text = client.completions.create(model="m", prompt="Hi there").choices[0].text
        assert text == "You said: Hi there"
        create = client.audio.transcriptions.create
        heard = create(model="w", file=("a.wav", b"sound"))
        assert heard.text.startswith("You said: sound ")
        plain = create(model="w", file=("b.wav", b"sound"), response_format="text")
        assert str(plain).startswith("You said: sound ")
    assert upstream.call_count == 3


def test_models(server: str, key: Callable[..., str]) -> None:
    token = key(allowed_models=["gpt-x", "claude-*"])
    client = openai.OpenAI(base_url=f"{server}/llm/v1", api_key=token)
    assert [model.id for model in client.models.list()] == ["gpt-x"]
    assert client.models.retrieve("claude-3/x").id == "claude-3/x"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    claude = anthropic.Anthropic(base_url=f"{server}/llm", api_key=token)
    assert [model.id for model in claude.models.list()] == ["gpt-x"]


def test_messages(claude: anthropic.Anthropic, upstream: FakeUpstream) -> None:
    asked: dict[str, Any] = {**CHAT, "max_tokens": 50}
    whole = claude.messages.create(**asked)
    assert whole.content[0].text == "You said: Hi there"
    with claude.messages.stream(**asked) as stream:
        assert stream.get_final_message().content[0].text == "You said: Hi there"
    assert upstream.call_count == 1


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (400, openai.BadRequestError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (401, openai.InternalServerError),  # our own key's trouble is not the caller's
    ],
)
def test_errors_of_the_provider_are_the_sdks_own(
    client: openai.OpenAI, upstream: FakeUpstream, fail: int, kind: Any
) -> None:
    upstream.fail = fail
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**CHAT)
    assert caught.value.body["message"]
    assert caught.value.request_id.startswith("req_")


def test_errors_in_anthropics_words(claude: anthropic.Anthropic, upstream: FakeUpstream) -> None:
    upstream.fail = 429
    with pytest.raises(anthropic.RateLimitError) as caught:
        claude.messages.create(**CHAT, max_tokens=5)
    assert caught.value.body["error"]["type"] == "rate_limit_error"


def test_async_sdks(server: str, key: Callable[..., str], upstream: FakeUpstream) -> None:
    token = key()

    async def ask() -> list[str]:
        made = openai.AsyncOpenAI(base_url=f"{server}/llm/v1", api_key=token)
        async with made as client:
            calls = (client.chat.completions.create(**CHAT) for _ in range(10))
            return [answer.id for answer in await asyncio.gather(*calls)]

    assert len(set(asyncio.run(ask()))) == 1
    assert upstream.call_count == 1


def test_the_sdk_tries_again_when_told_to(
    server: str, key: Callable[..., str], upstream: FakeUpstream
) -> None:
    upstream.fail, upstream.fail_times = 500, 1
    client = openai.OpenAI(base_url=f"{server}/llm/v1", api_key=key(), max_retries=1)
    assert client.chat.completions.create(**CHAT).choices
    assert upstream.call_count == 2


def test_the_first_event_arrives_before_the_last_is_made(
    client: openai.OpenAI, upstream: FakeUpstream
) -> None:
    upstream.chunk_latency = 0.3
    stream = client.chat.completions.create(**CHAT, stream=True)
    started = time.monotonic()
    moments = [time.monotonic() - started for _ in stream]
    assert moments[-1] - moments[0] > 0.3  # they came one by one, as they were made


def test_a_caller_that_goes_away_stores_nothing(
    client: openai.OpenAI, upstream: FakeUpstream
) -> None:
    upstream.chunk_latency = 0.2
    stream = client.chat.completions.create(**CHAT, stream=True)
    next(iter(stream))
    stream.close()
    upstream.chunk_latency = 0.0
    time.sleep(1)
    raw = client.chat.completions.with_raw_response.create(**CHAT)
    assert raw.headers["x-llmcache-outcome"] == "miss"
