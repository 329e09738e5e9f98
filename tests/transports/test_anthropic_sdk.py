"""Anthropic's own SDK with a transport."""

from __future__ import annotations

from typing import Any

import anthropic
import orjson
import pytest
from django.test import override_settings

import llmcache
from tests.servers.provider import Provider, answer, stream
from tests.transports.conftest import Sync
from tests.upstreams.test_anthropic import MESSAGE, wire

ASKED: dict[str, Any] = {
    "model": "claude",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Hi"}],
}


def test_a_message_is_asked_for_once(sdk: Sync, provider: Provider) -> None:
    provider.script(answer(MESSAGE))
    create = sdk.anthropic(provider).messages.create
    first, second = sdk.run(create, **ASKED), sdk.run(create, **ASKED)
    assert first == second
    assert second.content[0].text == "Hello!"
    assert len(provider.requests) == 1
    assert provider.requests[0].path == "/v1/messages"


def test_a_stream_is_replayed_with_the_names_of_its_events(sdk: Sync, provider: Provider) -> None:
    provider.script(stream(wire()))
    create = sdk.anthropic(provider).messages.create
    live, replayed = (sdk.items(sdk.run(create, **ASKED, stream=True)) for _ in range(2))
    assert live == replayed
    assert [event.type for event in live][-1] == "message_stop"
    assert sdk.run(create, **ASKED).content[0].text == "Hello!"
    assert len(provider.requests) == 1


def test_the_sdks_own_helper_for_streams_works(sdk: Sync, provider: Provider) -> None:
    provider.script(stream(wire()))
    helper = sdk.anthropic(provider).messages.stream
    for _ in range(2):
        *seen, final = sdk.entered(helper(**ASKED), "get_final_message")
        assert final.content[0].text == "Hello!"
        assert final.usage.output_tokens == 2
        assert any(event.type == "text" for event in seen)
    assert len(provider.requests) == 1


def test_a_tools_input_survives_the_stream(sdk: Sync, provider: Provider) -> None:
    tool = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}}
    provider.script(answer({**MESSAGE, "content": [tool], "stop_reason": "tool_use"}))
    client = sdk.anthropic(provider)
    sdk.run(client.messages.create, **ASKED)
    *_, final = sdk.entered(client.messages.stream(**ASKED), "get_final_message")
    assert final.content[0].input == {"city": "Oslo"}
    assert len(provider.requests) == 1


def test_beta_features_are_another_question(sdk: Sync, provider: Provider) -> None:
    provider.script(answer(MESSAGE))
    create = sdk.anthropic(provider).messages.create
    sdk.run(create, **ASKED)
    sdk.run(create, **ASKED, extra_headers={"anthropic-beta": "new"})
    sdk.run(create, **ASKED, extra_headers={"anthropic-version": "2099-01-01"})
    assert len(provider.requests) == 3


@pytest.mark.parametrize("first", ["sdk", "function"])
def test_without_an_account_entries_are_shared_with_our_own_functions(
    sdk: Sync, provider: Provider, first: str
) -> None:
    provider.script(answer(MESSAGE))
    providers = {
        "default": {"BACKEND": "llmcache.upstreams.fake.FakeUpstream"},
        "anthropic": {
            "BACKEND": "llmcache.upstreams.anthropic.Anthropic",
            "OPTIONS": {"base_url": provider.base_url, "api_key": "other"},
        },
    }
    with override_settings(LLMCACHE_PROVIDERS=providers):
        create = sdk.anthropic(provider, account=None).messages.create
        function = {**ASKED, "model": "anthropic/claude"}
        version = {"anthropic-version": "2023-06-01"}  # both sides must speak one version
        if first == "sdk":
            sdk.run(create, **ASKED, extra_headers=version)
            assert llmcache.messages(**function).cache.outcome == "hit"
        else:
            llmcache.messages(**function)
            found = sdk.run(create, **ASKED, extra_headers=version)
            assert found.content[0].text == "Hello!"
    assert len(provider.requests) == 1


def test_an_error_reaches_the_sdk_as_it_came(sdk: Sync, provider: Provider) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    provider.script(answer(error, 529))
    with pytest.raises(anthropic.APIStatusError) as caught:
        sdk.run(sdk.anthropic(provider).messages.create, **ASKED)
    assert caught.value.status_code == 529
    assert orjson.loads(caught.value.response.content) == error
