"""Anthropic's SDK over the transport."""

from __future__ import annotations

from typing import Any

import orjson

from llmcache.conf import ProviderSettings
from llmcache.upstreams.base import UpstreamRequest
from llmcache.upstreams.fake import FakeUpstream
from tests.servers.provider import answer, encode, stream
from tests.transports.conftest import SDK, outcome

ASK: dict[str, Any] = {
    "model": "claude",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hi"}],
}
REQUEST = UpstreamRequest(kind="messages", model="claude", params=ASK)


def fake() -> FakeUpstream:
    return FakeUpstream(ProviderSettings(name="fake", options={"responses": {"Hi": "One two."}}))


def pieces() -> list[bytes]:
    made = list(fake().stream(REQUEST))
    framed = [encode(event, orjson.loads(event)["type"]) for event in made]
    return [framed[0], encode(b'{"type": "ping"}', "ping"), *framed[1:]]


def test_the_second_message_is_a_hit_and_reads_the_same(sdk: SDK) -> None:
    body = fake().call(REQUEST)
    sdk.provider.script(answer(body, headers={"request-id": "req_9"}))
    client = sdk.anthropic()
    first, second = (sdk.run(client.messages.with_raw_response.create(**ASK)) for _ in range(2))
    assert (outcome(first), outcome(second)) == ("miss", "hit")
    assert first.headers["request-id"] == "req_9"
    assert second.http_response.json() == first.http_response.json()
    assert len(sdk.provider.requests) == 1


def test_a_stream_is_replayed_and_serves_a_plain_call(sdk: SDK) -> None:
    sdk.provider.script(stream(pieces()))
    client = sdk.anthropic()
    finals = [sdk.final(client.messages.stream(**ASK), "get_final_message") for _ in range(2)]
    assert finals[0].content[0].text == "One two."
    assert finals[0].model_dump() == finals[1].model_dump()
    assert sdk.run(client.messages.create(**ASK)).content[0].text == "One two."
    assert len(sdk.provider.requests) == 1


def test_pings_pass_through_and_events_keep_their_names(sdk: SDK) -> None:
    sdk.provider.script(stream(pieces()))
    body = {**ASK, "stream": True}
    url = f"{sdk.provider.base_url}/messages"
    made = sdk.run(sdk.http().post(url, json=body))
    assert "event: ping\n" in made.text
    assert "event: message_stop\n" in made.text
    assert "[DONE]" not in made.text
    again = sdk.run(sdk.http().post(url, json=body))
    assert again.text == made.text


def test_betas_and_versions_are_part_of_the_key(sdk: SDK) -> None:
    sdk.provider.script(answer(fake().call(REQUEST)))
    client = sdk.anthropic()
    for headers in ({}, {"anthropic-beta": "x"}, {"anthropic-version": "2023-01-01"}, {}):
        sdk.run(client.messages.create(**ASK, extra_headers=headers))
    assert len(sdk.provider.requests) == 3


def test_counting_tokens_and_batches_go_by_the_cache(sdk: SDK) -> None:
    sdk.provider.script(answer({"input_tokens": 3}))
    client = sdk.anthropic()
    for _ in range(2):
        counted = sdk.run(client.messages.count_tokens(model="claude", messages=ASK["messages"]))
        assert counted.input_tokens == 3
    assert len(sdk.provider.requests) == 2


def test_an_error_within_a_stream_is_the_sdks_own(sdk: SDK) -> None:
    import anthropic
    import pytest

    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    sdk.provider.script(stream([*pieces()[:3], encode(orjson.dumps(error), "error")]))
    client = sdk.anthropic()
    for _ in range(2):
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            sdk.read(sdk.run(client.messages.create(**ASK, stream=True)))
    assert len(sdk.provider.requests) == 2


def test_a_client_that_leaves_at_the_last_event_has_read_the_whole_answer(sdk: SDK) -> None:
    sdk.provider.script(stream(pieces(), end="open"))
    http, url = sdk.http(), f"{sdk.provider.base_url}/messages"
    asked = {"method": "POST", "url": url, "json": {**ASK, "stream": True}}

    def leave() -> None:
        with http.stream(**asked) as made:
            for part in made.iter_bytes():
                if b"message_stop" in part:
                    break

    async def aleave() -> None:
        async with http.stream(**asked) as made:
            async for part in made.aiter_bytes():
                if b"message_stop" in part:
                    break

    sdk.run(aleave()) if sdk.is_async else leave()
    assert outcome(sdk.run(http.post(url, json=ASK))) == "hit"
