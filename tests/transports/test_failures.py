"""What goes wrong between an SDK and its provider goes wrong as it would without a transport."""

from __future__ import annotations

import time
from typing import Any

import openai
import pytest
from django.test import override_settings

from llmcache.exceptions import InvalidRequest
from tests.servers.provider import (
    CHAT,
    Provider,
    answer,
    delta,
    drop,
    encode,
    events,
    hang,
    refusal,
    stream,
    truncated,
)
from tests.transports.conftest import KEY, Sync

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def test_a_refusal_keeps_its_status_headers_and_body(sdk: Sync, provider: Provider) -> None:
    provider.script(refusal(400, {"x-more": "1"}))
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.run(sdk.openai(provider).chat.completions.create, **ASKED)
    assert caught.value.body == {"message": "refused with 400", "type": "test"}
    assert caught.value.request_id == "req_1"
    assert caught.value.response.headers["x-more"] == "1"


def test_the_sdk_tries_again_by_its_own_rules(sdk: Sync, provider: Provider) -> None:
    provider.script(refusal(500), refusal(429), answer(CHAT))
    create = sdk.openai(provider, retries=2).chat.completions.create
    assert sdk.run(create, **ASKED).choices[0].message.content == "Hello!"
    sdk.run(create, **ASKED)
    assert len(provider.requests) == 3


def test_followers_get_the_leaders_refusal(sdk: Sync, provider: Provider) -> None:
    provider.script(refusal(400))
    create = sdk.openai(provider).chat.completions.create
    errors = sdk.together(10, create, **ASKED)
    assert {type(error) for error in errors} == {openai.BadRequestError}
    assert {error.request_id for error in errors} == {"req_1"}


@pytest.mark.parametrize("broken", [drop, truncated])
def test_a_connection_that_breaks_is_the_librarys_own_error(
    sdk: Sync, provider: Provider, broken: Any
) -> None:
    provider.script(broken)
    with pytest.raises(openai.APIConnectionError):
        sdk.run(sdk.openai(provider).chat.completions.create, **ASKED)


def test_a_provider_that_hangs_is_a_timeout(sdk: Sync, provider: Provider) -> None:
    provider.script(hang)
    with pytest.raises(openai.APITimeoutError):
        sdk.run(sdk.openai(provider).chat.completions.create, **ASKED, timeout=0.3)


@pytest.mark.parametrize("end", ["broken", "clean"])
def test_a_stream_that_breaks_off_is_told_and_not_stored(
    sdk: Sync, provider: Provider, end: str
) -> None:
    provider.script(
        stream(events(delta("Hel"), done=False), end=end),
        stream(events(delta("Hello"), delta(finish_reason="stop"))),
    )
    create = sdk.openai(provider).chat.completions.create
    with pytest.raises(openai.APIConnectionError):
        sdk.items(sdk.run(create, **ASKED, stream=True))
    chunks = sdk.items(sdk.run(create, **ASKED, stream=True))
    assert chunks[0].choices[0].delta.content == "Hello"
    assert len(provider.requests) == 2


def test_an_error_within_a_stream_reaches_the_sdk(sdk: Sync, provider: Provider) -> None:
    error = b'{"error": {"message": "too busy", "type": "overloaded"}}'
    provider.script(stream([*events(delta("Hel"), done=False), encode(error)]))
    with pytest.raises(openai.APIError, match="too busy"):
        sdk.items(sdk.run(sdk.openai(provider).chat.completions.create, **ASKED, stream=True))


def test_a_stream_given_up_half_way_is_closed_and_not_stored(sdk: Sync, provider: Provider) -> None:
    provider.script(stream(events(delta("Hel"), *[delta("x")] * 200), pause=0.02))
    create = sdk.openai(provider).chat.completions.create
    assert sdk.first(sdk.run(create, **ASKED, stream=True)).choices[0].delta.content == "Hel"
    assert provider.disconnected.wait(10)
    provider.script(answer(CHAT))
    sdk.run(create, **ASKED)
    assert len(provider.requests) == 2


def test_an_old_answer_serves_where_that_is_allowed(sdk: Sync, provider: Provider) -> None:
    provider.script(answer(CHAT), refusal(500))
    cache = {"ttl": 0.05, "stale-if-error": 60}
    create = sdk.openai(provider, cache=cache).chat.completions.with_raw_response.create
    sdk.run(create, **ASKED)
    time.sleep(0.1)
    old = sdk.run(create, **ASKED)
    assert old.headers["x-llmcache-outcome"] == "stale"
    assert old.parse().choices[0].message.content == "Hello!"


def test_a_store_that_fails_is_a_miss(sdk: Sync, provider: Provider) -> None:
    nowhere = {"BACKEND": "llmcache.backends.redis.RedisBackend", "LOCATION": "redis://127.0.0.1:1"}
    with override_settings(LLMCACHE={"default": nowhere}):
        create = sdk.openai(provider).chat.completions.create
        assert sdk.run(create, **ASKED).choices[0].message.content == "Hello!"


def test_an_error_with_status_200_is_passed_on_and_not_stored(
    sdk: Sync, provider: Provider
) -> None:
    provider.script(answer({"error": {"message": "odd"}}), answer(CHAT))
    create = sdk.openai(provider).chat.completions.create
    assert sdk.run(create, **ASKED).error == {"message": "odd"}
    assert sdk.run(create, **ASKED).choices[0].message.content == "Hello!"


def test_only_if_cached_is_a_504_that_nobody_tries_again(sdk: Sync, provider: Provider) -> None:
    create = sdk.openai(provider, retries=2).chat.completions.create
    asked = {**ASKED, "extra_headers": {"cache-control": "only-if-cached"}}
    with pytest.raises(openai.InternalServerError) as caught:
        sdk.run(create, **asked)
    assert caught.value.status_code == 504
    assert provider.requests == []
    sdk.run(create, **ASKED)
    assert sdk.run(create, **asked).choices[0].message.content == "Hello!"


def test_a_wrong_header_is_an_error_that_lists_the_right_ones(
    sdk: Sync, provider: Provider
) -> None:
    create = sdk.openai(provider).chat.completions.create
    with pytest.raises(InvalidRequest, match="Did you mean 'X-LLMCache-ttl'"):
        sdk.run(create, **ASKED, extra_headers={"X-LLMCache-TLL": "5"})
    with pytest.raises(InvalidRequest, match="must be a number"):
        sdk.run(create, **ASKED, extra_headers={"X-LLMCache-TTL": "soon"})


def test_no_error_shows_the_key(sdk: Sync, provider: Provider, caplog: Any) -> None:
    provider.script(refusal(401))
    client = sdk.openai(provider)
    with pytest.raises(openai.AuthenticationError) as caught:
        sdk.run(client.chat.completions.create, **ASKED)
    assert KEY not in str(caught.value) + caplog.text + repr(client._client._transport)
