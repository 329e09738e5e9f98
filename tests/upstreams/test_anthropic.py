"""Anthropic's API over HTTP: its headers, its streams' ends, its errors."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from django.core.exceptions import ImproperlyConfigured

from llmcache.conf import ProviderSettings
from llmcache.exceptions import RateLimited, StreamBroken, UpstreamError
from llmcache.streams import split
from llmcache.upstreams.anthropic import Anthropic
from llmcache.upstreams.base import UpstreamRequest
from tests.servers.provider import Provider, answer, encode, stream
from tests.upstreams.test_openai import Driver

MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "Hello!"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}


def upstream(provider: Provider, **options: Any) -> Anthropic:
    given = {"base_url": provider.base_url, "api_key": "sk-ant-secret", "max_retries": 0}
    return Anthropic(ProviderSettings(name="anthropic", options={**given, **options}))


def asked(**changes: Any) -> UpstreamRequest:
    params = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10}
    return UpstreamRequest(**{"kind": "messages", "model": "claude", "params": params, **changes})


def wire() -> list[bytes]:
    """The events of MESSAGE as Anthropic sends them, with a ping among them."""
    sent = [
        encode(raw, orjson.loads(raw)["type"]) for raw in split("messages", orjson.dumps(MESSAGE))
    ]
    return [*sent[:1], encode(b'{"type": "ping"}', "ping"), *sent[1:]]


def test_a_message_is_asked_for_as_anthropic_wants_it(driver: Driver, provider: Provider) -> None:
    provider.script(answer(MESSAGE))
    assert driver.call(upstream(provider), asked()) == MESSAGE
    (seen,) = provider.requests
    assert seen.path == "/v1/messages"
    assert seen.headers["x-api-key"] == "sk-ant-secret"
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in seen.headers
    assert seen.json == {
        "model": "claude",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 10,
    }


def test_a_stream_ends_with_its_last_event(driver: Driver, provider: Provider) -> None:
    provider.script(stream(wire()))
    kinds = [orjson.loads(event)["type"] for event in driver.stream(upstream(provider), asked())]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop" and "ping" in kinds
    assert "stream_options" not in provider.requests[0].json


def test_a_stream_without_its_last_event_is_broken(driver: Driver, provider: Provider) -> None:
    provider.script(stream(wire()[:-1]))
    with pytest.raises(StreamBroken):
        driver.stream(upstream(provider), asked())


def test_an_error_within_a_stream_is_raised(driver: Driver, provider: Provider) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    provider.script(stream([*wire()[:3], encode(orjson.dumps(error), "error")]))
    with pytest.raises(UpstreamError, match="Overloaded"):
        driver.stream(upstream(provider), asked())


def test_a_refusal_is_read(driver: Driver, provider: Provider) -> None:
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}}
    provider.script(answer(error, 429, {"retry-after": "7"}))
    with pytest.raises(RateLimited, match="Slow down") as caught:
        driver.call(upstream(provider), asked())
    assert caught.value.retry_after == 7


def test_identity_tells_addresses_and_versions_apart(provider: Provider) -> None:
    usual = upstream(provider).identity()
    assert usual.startswith("anthropic|")
    assert "secret" not in usual
    assert upstream(provider, anthropic_version="2099-01-01").identity() != usual
    assert upstream(provider, base_url="https://else.example/v1").identity() != usual


def test_options_of_openai_alone_are_refused(provider: Provider) -> None:
    with pytest.raises(ImproperlyConfigured, match="organization"):
        upstream(provider, organization="org")
