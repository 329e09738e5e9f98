"""Cassettes under OpenAI's own SDK with a transport, and under the endpoint's way to a provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest

import llmcache.httpx2
from llmcache.testing import UnexpectedLiveCall, assert_upstream_calls, use_cassette
from tests.servers.provider import Provider, delta, events, stream

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
KEY = "sk-live-in-a-header"


def client(provider: Provider) -> openai.OpenAI:
    """The SDK, its cache in force."""
    http = llmcache.httpx2.client()
    return openai.OpenAI(base_url=provider.base_url, api_key=KEY, max_retries=0, http_client=http)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_sdks_calls_are_recorded_and_replayed(
    provider: Provider, tmp_path: Path, streamed: bool
) -> None:
    path = tmp_path / "calls.json"
    if streamed:
        provider.script(stream(events(delta("Hello!"), delta(finish_reason="stop"))))

    def said() -> str:
        answer: Any = client(provider).chat.completions.create(**ASKED, stream=streamed)
        if not streamed:
            return str(answer.choices[0].message.content)
        return "".join(chunk.choices[0].delta.content or "" for chunk in answer)

    with use_cassette(path, mode="record"):
        assert said() == "Hello!"
    assert len(provider.requests) == 1
    assert KEY not in path.read_text()
    with use_cassette(path, mode="replay"), assert_upstream_calls(1):
        assert said() == "Hello!"
        assert said() == "Hello!"  # from the cache
    assert len(provider.requests) == 1


def test_a_live_call_of_an_sdk_fails_the_test(provider: Provider, tmp_path: Path) -> None:
    with (
        pytest.raises(UnexpectedLiveCall),
        use_cassette(tmp_path / "none.json", mode="replay"),
    ):
        client(provider).chat.completions.create(**ASKED)
    assert provider.requests == []
