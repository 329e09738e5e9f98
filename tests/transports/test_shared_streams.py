"""Identical streams of the SDKs are one request, and no client takes another's stream away."""

from __future__ import annotations

from typing import Any

import openai

from tests.servers.provider import delta, events, refusal, stream
from tests.transports.conftest import SDK, outcome

ASK: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Hi"}],
    "stream": True,
}
SAID = [delta(word) for word in ("One ", "two ", "three ", "four")] + [delta("", "stop")]


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_twenty_identical_streams_at_once_are_one_request(any_sdk: SDK) -> None:
    any_sdk.provider.script(any_sdk.after_all_have_begun(20, stream(events(*SAID))))
    client = any_sdk.openai()
    made = any_sdk.together(20, lambda: client.chat.completions.with_raw_response.create(**ASK))
    assert len(any_sdk.provider.requests) == 1
    assert {text_of(any_sdk.read(raw.parse())) for raw in made} == {"One two three four"}
    assert sorted(map(outcome, made)) == ["coalesced"] * 19 + ["miss"]


def test_a_client_that_closes_leaves_its_stream_to_those_who_read_it(any_sdk: SDK) -> None:
    any_sdk.provider.script(stream(events(*SAID)))
    http = any_sdk.http()
    first = any_sdk.run(any_sdk.openai(http=http).chat.completions.create(**ASK))
    second = any_sdk.run(any_sdk.openai().chat.completions.create(**ASK))
    any_sdk.read(first, most=1)
    any_sdk.run(http.aclose()) if any_sdk.is_async else http.close()
    assert text_of(any_sdk.read(second)) == "One two three four"
    assert len(any_sdk.provider.requests) == 1


def test_those_who_share_a_stream_share_its_refusal(any_sdk: SDK) -> None:
    behaviour = refusal(429, {"retry-after": "7"})
    any_sdk.provider.script(any_sdk.after_all_have_begun(10, behaviour))
    client = any_sdk.openai()
    made = any_sdk.together(10, lambda: client.chat.completions.create(**ASK))
    assert len(any_sdk.provider.requests) == 1
    assert {type(error) for error in made} == {openai.RateLimitError}
    assert {error.response.headers["retry-after"] for error in made} == {"7"}


def test_streams_of_two_accounts_are_two_requests(sdk: SDK) -> None:
    sdk.provider.script(stream(events(*SAID)))
    keys = ("sk-a", "sk-b")
    opened = [sdk.run(sdk.openai(key).chat.completions.create(**ASK)) for key in keys]
    assert len(sdk.provider.requests) == 2
    assert {text_of(sdk.read(each)) for each in opened} == {"One two three four"}
