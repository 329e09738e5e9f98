"""What fails upstream reaches the SDK as it was, so that its retries and error classes work."""

from __future__ import annotations

import logging
import time
from typing import Any

import anthropic
import openai
import pytest
from django.test import override_settings

from llmcache.models import Call
from llmcache.recorder import recorder
from tests.servers.provider import answer, delta, drop, events, hang, refusal, stream
from tests.transports.conftest import SDK, SECRET, outcome

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def ask(sdk: SDK, client: Any, **more: Any) -> Any:
    return sdk.run(client.chat.completions.with_raw_response.create(**ASK, **more))


def test_the_sdk_retries_a_failure_once_and_the_answer_is_stored(any_sdk: SDK) -> None:
    any_sdk.provider.script(refusal(500), answer())
    client = any_sdk.openai(max_retries=2)
    assert outcome(ask(any_sdk, client)) == "miss"
    assert len(any_sdk.provider.requests) == 2
    assert outcome(ask(any_sdk, client)) == "hit"
    assert len(any_sdk.provider.requests) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (503, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_refusal_is_the_sdks_own_error_and_is_not_stored(
    sdk: SDK, status: int, kind: type[openai.APIStatusError], is_stream: bool
) -> None:
    sdk.provider.script(refusal(status, {"retry-after": "3", "x-own": "kept"}))
    client = sdk.openai()
    for _ in range(2):
        with pytest.raises(kind) as caught:
            sdk.run(client.chat.completions.create(**ASK, stream=is_stream))
        assert caught.value.response.headers["retry-after"] == "3"
        assert caught.value.response.headers["x-own"] == "kept"
        assert caught.value.request_id == "req_1"
        assert caught.value.body == {"message": f"refused with {status}", "type": "test"}
    assert len(sdk.provider.requests) == 2


def test_anthropics_errors_are_its_own(sdk: SDK) -> None:
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}}
    sdk.provider.script(answer(error, 429, {"retry-after": "2"}))
    with pytest.raises(anthropic.RateLimitError, match="Slow down") as caught:
        sdk.run(sdk.anthropic().messages.create(**ASK, max_tokens=9))
    assert caught.value.response.headers["retry-after"] == "2"


def test_a_rate_limit_makes_the_sdk_wait_as_asked(sdk: SDK) -> None:
    sdk.provider.script(refusal(429, {"retry-after-ms": "120"}), answer())
    started = time.monotonic()
    assert outcome(ask(sdk, sdk.openai(max_retries=1))) == "miss"
    assert time.monotonic() - started >= 0.12


def test_a_broken_connection_is_the_sdks_own_error(any_sdk: SDK) -> None:
    any_sdk.provider.script(drop)
    with pytest.raises(openai.APIConnectionError) as caught:
        ask(any_sdk, any_sdk.openai())
    assert not isinstance(caught.value, openai.APITimeoutError)
    library = any_sdk.library.CacheTransport.library
    assert type(caught.value.__cause__) is library.RemoteProtocolError


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_timeout_is_the_sdks_own_error(any_sdk: SDK, is_stream: bool) -> None:
    any_sdk.provider.script(hang)
    client = any_sdk.openai(timeout=0.2)
    with pytest.raises(openai.APITimeoutError):
        any_sdk.run(client.chat.completions.create(**ASK, stream=is_stream))


def test_a_stream_that_breaks_off_is_told_and_not_stored(any_sdk: SDK) -> None:
    any_sdk.provider.script(stream(events(delta("Hel"), done=False), end="broken"))
    client = any_sdk.openai()
    for _ in range(2):
        made = any_sdk.run(client.chat.completions.create(**ASK, stream=True))
        with pytest.raises(openai.APIConnectionError):
            any_sdk.read(made)
    assert len(any_sdk.provider.requests) == 2


def test_a_stream_that_just_ends_reads_as_without_the_cache_and_is_not_stored(sdk: SDK) -> None:
    sdk.provider.script(stream(events(delta("Hel"), done=False)))
    client = sdk.openai()
    for _ in range(2):
        made = sdk.read(sdk.run(client.chat.completions.create(**ASK, stream=True)))
        assert [chunk.choices[0].delta.content for chunk in made] == ["Hel"]
    assert len(sdk.provider.requests) == 2


def test_an_error_within_a_stream_is_the_sdks_own(sdk: SDK) -> None:
    sdk.provider.script(stream(events(delta("Hel"), {"error": {"message": "Too much"}})))
    with pytest.raises(openai.APIError, match="Too much"):
        sdk.read(sdk.run(sdk.openai().chat.completions.create(**ASK, stream=True)))


def test_a_stale_answer_serves_while_the_provider_fails_where_allowed(sdk: SDK) -> None:
    sdk.provider.script(answer(), refusal(503))
    client = sdk.openai(http=sdk.http(cache={"ttl": 0.05, "stale-if-error": 60}))
    ask(sdk, client)
    time.sleep(0.1)
    raw = ask(sdk, client)
    assert outcome(raw) == "stale"
    assert raw.parse().choices[0].message.content == "Hello!"


def test_a_stale_stream_is_renewed_by_a_plain_call(sdk: SDK) -> None:
    sdk.provider.script(
        stream(events(delta("old"), delta(finish_reason="stop"))), answer(), answer(status=500)
    )
    client = sdk.openai(http=sdk.http(cache={"ttl": 0.05, "stale-while-revalidate": 60}))
    sdk.read(sdk.run(client.chat.completions.create(**ASK, stream=True)))
    time.sleep(0.1)
    old = sdk.read(sdk.run(client.chat.completions.create(**ASK, stream=True)))
    assert old[0].choices[0].delta.content == "old"
    deadline = time.monotonic() + 20
    while len(sdk.provider.requests) < 2:
        assert time.monotonic() < deadline
        sdk.run(_moment()) if sdk.is_async else time.sleep(0.02)
    assert sdk.provider.requests[1].json["stream"] is False
    assert "stream_options" not in sdk.provider.requests[1].json


async def _moment() -> None:
    import asyncio

    await asyncio.sleep(0.02)


def test_only_if_cached_is_a_504_that_the_sdk_does_not_retry(sdk: SDK) -> None:
    client = sdk.openai(max_retries=3)
    headers = {"Cache-Control": "only-if-cached"}
    with pytest.raises(openai.InternalServerError) as caught:
        ask(sdk, client, extra_headers=headers)
    assert caught.value.status_code == 504
    assert caught.value.request.headers["x-stainless-retry-count"] == "0"
    assert sdk.provider.requests == []
    ask(sdk, client)
    assert outcome(ask(sdk, client, extra_headers=headers)) == "hit"


def test_twenty_identical_calls_at_once_are_one_request(any_sdk: SDK) -> None:
    any_sdk.provider.script(any_sdk.after_all_have_begun(20, answer()))
    client = any_sdk.openai()
    made = any_sdk.together(20, lambda: client.chat.completions.with_raw_response.create(**ASK))
    assert len(any_sdk.provider.requests) == 1
    assert {response.parse().id for response in made} == {"chatcmpl-1"}
    assert sorted({outcome(response) for response in made}) == ["coalesced", "miss"]


@pytest.mark.parametrize("failing", ["refusal", "drop"])
def test_those_who_share_a_call_share_its_failure(any_sdk: SDK, failing: str) -> None:
    behaviour = refusal(429, {"retry-after": "7"}) if failing == "refusal" else drop
    any_sdk.provider.script(any_sdk.after_all_have_begun(20, behaviour))
    client = any_sdk.openai()
    made = any_sdk.together(20, lambda: client.chat.completions.create(**ASK))
    assert len(any_sdk.provider.requests) == 1
    kind = openai.RateLimitError if failing == "refusal" else openai.APIConnectionError
    assert {type(error) for error in made} == {kind}
    if failing == "drop":
        library = any_sdk.library.CacheTransport.library
        causes = [error.__cause__ for error in made]
        assert {type(cause) for cause in causes} == {library.RemoteProtocolError}
        assert len({id(cause) for cause in causes}) == 20  # nobody's is another's
    else:
        assert {error.response.headers["retry-after"] for error in made} == {"7"}


def test_a_store_that_fails_is_a_miss(sdk: SDK, tmp_path: Any) -> None:
    caches = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:9",
        }
    }
    with override_settings(CACHES=caches):
        client = sdk.openai()
        assert [outcome(ask(sdk, client)) for _ in range(2)] == ["error", "error"]


@pytest.mark.parametrize(
    "part", ["engine.body_of", "transports.reading.place_of", "transports.reading.asked_of"]
)
def test_a_failure_of_the_cache_itself_sends_the_request_on(
    sdk: SDK, monkeypatch: pytest.MonkeyPatch, counted: Any, part: str
) -> None:
    def broken(*args: object, **kwargs: object) -> bytes:
        raise RuntimeError("a bug")

    client = sdk.openai()
    ask(sdk, client)
    monkeypatch.setattr(f"llmcache.{part}", broken)
    assert ask(sdk, client).parse().id == "chatcmpl-1"
    assert (len(sdk.provider.requests), counted("transport_error")) == (2, 1)


@pytest.mark.parametrize(
    "behaviour",
    [
        answer(b"<html>busy</html>", content_type="text/html"),
        answer(b"[1]"),
        answer(status=202),
        answer({"error": {"message": "no"}}),
    ],
    ids=["html", "list", "202", "error"],
)
def test_what_is_no_answer_goes_back_as_it_was_and_is_not_stored(sdk: SDK, behaviour: Any) -> None:
    sdk.provider.script(behaviour)
    url = f"{sdk.provider.base_url}/chat/completions"
    made = [sdk.run(sdk.http().post(url, json=ASK)) for _ in range(2)]
    assert len(sdk.provider.requests) == 2
    assert made[0].content == made[1].content != b""
    assert made[0].status_code == made[1].status_code
    assert "x-llmcache-outcome" not in made[0].headers


def test_a_redirect_is_followed_by_the_client_and_is_no_failure(sdk: SDK) -> None:
    url = f"{sdk.provider.base_url}/chat/completions"
    sdk.provider.script(answer(), answer(b"", 307, {"Location": url}), answer())
    client = sdk.openai(http=sdk.http(cache={"ttl": 0.05, "stale-if-error": 60}))
    ask(sdk, client)
    time.sleep(0.1)
    assert outcome(ask(sdk, client)) == "miss"
    assert len(sdk.provider.requests) == 3


@pytest.mark.parametrize("wanted", [False, True])
def test_a_stream_for_a_plain_answer_and_the_reverse_go_back_as_they_were(
    sdk: SDK, wanted: bool
) -> None:
    sdk.provider.script(answer() if wanted else stream(events(delta("Hi"))))
    url = f"{sdk.provider.base_url}/chat/completions"
    made = sdk.run(sdk.http().post(url, json={**ASK, "stream": wanted}))
    assert ("chatcmpl-1" in made.text) and ("data: " in made.text) is not wanted


def test_a_stream_that_nobody_asked_for_is_passed_on_as_it_comes(sdk: SDK) -> None:
    sdk.provider.script(stream(events(delta("Hi")), end="open"))
    url, http = f"{sdk.provider.base_url}/chat/completions", sdk.http()

    def first() -> bytes:
        with http.stream("POST", url, json=ASK) as made:
            return next(made.iter_bytes())

    async def afirst() -> bytes:
        async with http.stream("POST", url, json=ASK) as made:
            return await anext(made.aiter_bytes())

    assert b"Hi" in (sdk.run(afirst()) if sdk.is_async else first())


def test_an_embedding_answer_that_is_too_short_goes_back_as_it_was(sdk: SDK) -> None:
    body = {"object": "list", "data": [], "model": "m", "usage": {}}
    sdk.provider.script(answer(body))
    url = f"{sdk.provider.base_url}/embeddings"
    made = sdk.run(sdk.http().post(url, json={"model": "m", "input": ["a", "b"]}))
    assert made.json() == body


@pytest.mark.django_db(transaction=True)
def test_no_credential_is_in_the_key_the_store_the_ledger_or_the_log(
    sdk: SDK, caplog: pytest.LogCaptureFixture
) -> None:
    from django.core.cache import caches

    from llmcache.models import Entry

    caplog.set_level(logging.DEBUG, logger="llmcache")
    said = {"error": {"message": f"Incorrect API key provided: {SECRET}", "type": "auth"}}
    sdk.provider.script(answer(), answer(said, 401))
    http = sdk.http(cache={"tags": ["t"]})
    client = sdk.openai(http=http, organization="org-1")
    ask(sdk, client)
    with pytest.raises(openai.AuthenticationError, match=SECRET):
        ask(sdk, client, n=2)
    recorder.flush()
    rows = [*Entry.objects.values(), *Call.objects.values()]
    kept = repr(rows) + repr(caches["default"]._cache) + caplog.text  # type: ignore[attr-defined]
    assert len(rows) == 3 and "RateLimited" not in kept and "[hidden]" in kept
    for text in (kept, repr(http), repr(http._transport)):
        assert SECRET not in text
