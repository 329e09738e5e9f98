"""Only what is known to be safe is answered from the cache; all else passes untouched."""

from __future__ import annotations

import gzip
from typing import Any

import orjson
import pytest

from tests.servers.provider import CHAT, answer, delta, encode, events, stream
from tests.transports.conftest import SDK, outcome

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
RESPONSE: dict[str, Any] = {"model": "m", "input": "Hi"}
BODY = orjson.dumps(ASK)
JSON = {"Content-Type": "application/json"}


def post(sdk: SDK, path: str, http: Any = None, **request: Any) -> Any:
    return sdk.run((http or sdk.http()).post(f"{sdk.provider.base_url}{path}", **request))


def twice(sdk: SDK, path: str, http: Any = None, **request: Any) -> Any:
    """The second of two equal requests, both of which must have reached the provider."""
    before = len(sdk.provider.requests)
    first, second = (post(sdk, path, http, **request) for _ in range(2))
    assert len(sdk.provider.requests) == before + 2
    assert outcome(first) == outcome(second) == "none"
    return second


@pytest.mark.parametrize(
    "path",
    [
        "/files",
        "/batches",
        "/messages/count_tokens",
        "/messages/batches",
        "/threads/t_1/messages",
        "/responses/resp_1/cancel",
        "/chat/completions/chatcmpl-1",
        "/images/generations",
        "/unheard_of",
    ],
)
def test_unknown_paths_pass(sdk: SDK, path: str) -> None:
    sdk.provider.script(answer({"id": "x", "content": "x"}))
    twice(sdk, path, content=BODY, headers={**JSON, "Cache-Control": "no-transform"})
    assert sdk.provider.requests[-1].body == BODY
    assert sdk.provider.requests[-1].headers["cache-control"] == "no-transform"


@pytest.mark.parametrize(
    "more",
    [
        {"background": True},
        {"conversation": "conv_1"},
        {"tools": [{"type": "mcp", "server_label": "x", "server_url": "https://x"}]},
        {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
        {"tools": [{"type": "shell", "environment": {"container_id": "cntr_1"}}]},
    ],
)
def test_calls_with_effects_pass_without_their_instructions(sdk: SDK, more: dict[str, Any]) -> None:
    body = orjson.dumps({**RESPONSE, **more})
    sdk.provider.script(answer({"id": "r", "object": "response", "output": [{"type": "x"}]}))
    twice(sdk, "/responses", content=body, headers={**JSON, "X-LLMCache-TTL": "5"})
    assert sdk.provider.requests[-1].body == body
    assert "x-llmcache-ttl" not in sdk.provider.requests[-1].headers


def test_a_previous_response_is_part_of_the_key(sdk: SDK) -> None:
    sdk.provider.script(answer({"id": "r", "object": "response", "output": [{"type": "x"}]}))
    for previous in ("resp_1", "resp_2", "resp_1"):
        post(sdk, "/responses", json={**RESPONSE, "previous_response_id": previous})
    assert len(sdk.provider.requests) == 2


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (BODY, {"Content-Type": "text/plain"}),
        (BODY, {}),
        (gzip.compress(BODY, mtime=0), {**JSON, "Content-Encoding": "gzip"}),
        (BODY, {**JSON, "Content-Encoding": "x-unknown"}),
        (b"{", JSON),
        (b"[]", JSON),
        (b'{"model": 5, "messages": []}', JSON),
        (b'{"messages": []}', JSON),
        (b'{"model": "m"}', JSON),
        (b'{"model": "m", "messages": [], "stream": "yes"}', JSON),
        (b"[" * 100_000, JSON),
    ],
)
def test_bodies_that_cannot_be_read_pass_byte_for_byte(
    sdk: SDK, content: bytes, headers: dict[str, str]
) -> None:
    twice(sdk, "/chat/completions", content=content, headers=headers)
    assert sdk.provider.requests[-1].body == content


def test_a_body_that_can_be_read_only_once_passes(sdk: SDK) -> None:
    def pieces() -> Any:
        yield BODY[:10]
        yield BODY[10:]

    async def apieces() -> Any:
        for piece in pieces():
            yield piece

    headers = {**JSON, "Content-Length": str(len(BODY))}
    for _ in range(2):
        content = apieces() if sdk.is_async else pieces()
        made = post(sdk, "/chat/completions", content=content, headers=headers)
        assert outcome(made) == "none"
    assert [request.body for request in sdk.provider.requests] == [BODY, BODY]


@pytest.mark.parametrize("content", [b"", b"--x--\r\n", b"--x\r\nnonsense\r\n"])
def test_a_form_that_cannot_be_read_passes(sdk: SDK, content: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    twice(sdk, "/audio/transcriptions", content=content, headers=headers)
    assert sdk.provider.requests[-1].body == content


def test_a_streamed_transcript_passes(sdk: SDK) -> None:
    sdk.provider.script(stream([encode(b'{"type": "transcript.text.done", "text": "x"}')]))
    form = {"data": {"model": "m", "stream": "true"}, "files": {"file": ("a.wav", b"RIFF")}}
    assert "transcript.text.done" in twice(sdk, "/audio/transcriptions", **form).text


def test_empty_inputs_get_the_providers_own_error(sdk: SDK) -> None:
    sdk.provider.script(answer({"error": {"message": "no input"}}, 400))
    made = twice(sdk, "/embeddings", json={"model": "m", "input": []})
    assert made.json()["error"]["message"] == "no input"


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_other_methods_pass(sdk: SDK, method: str) -> None:
    library = sdk.library.CacheTransport.library
    sent: list[str] = []

    def reply(request: Any) -> Any:
        sent.append(request.method)
        return library.Response(200, json=CHAT)

    http = sdk.http(transport=library.MockTransport(reply))
    url = f"{sdk.provider.base_url}/chat/completions"
    for _ in range(2):
        assert outcome(sdk.run(http.request(method, url, json=ASK))) == "none"
    assert sent == [method, method]


def test_a_hit_asks_for_nothing_and_a_miss_sends_the_body_as_it_was(sdk: SDK) -> None:
    spaced = b'{ "messages": [{"role": "user", "content": "Hi"}],  "model": "m" }'
    for content in (spaced, BODY):
        post(sdk, "/chat/completions", content=content, headers=JSON)
    assert [request.body for request in sdk.provider.requests] == [spaced]


def test_names_that_our_functions_take_for_themselves_are_the_providers_in_a_body(
    sdk: SDK,
) -> None:
    for more in ({}, {"timeout": 3}, {"timeout": 4}, {"cache": {"ttl": 5}}, {"using": "x"}):
        post(sdk, "/chat/completions", json={**ASK, **more})
    assert len(sdk.provider.requests) == 5
    assert sdk.provider.requests[3].json == {**ASK, "cache": {"ttl": 5}}


def test_headers_and_queries_that_can_change_the_answer_are_part_of_the_key(sdk: SDK) -> None:
    asked = "/chat/completions"
    for path, headers in (
        (asked, {}),
        (asked, {"OpenAI-Beta": "x"}),
        (asked, {"X-Persona": "pirate"}),
        (f"{asked}?api-version=1", {}),
        (f"{asked}?api-version=2", {}),
        (f"{asked}?api-version=1&api-version=2", {}),
    ):
        post(sdk, path, json=ASK, headers=headers)
    assert len(sdk.provider.requests) == 6


@pytest.mark.parametrize(
    "name",
    [
        "Accept",
        "Accept-Encoding",
        "Baggage",
        "Idempotency-Key",
        "Sentry-Trace",
        "Traceparent",
        "User-Agent",
        "X-Datadog-Trace-Id",
        "X-Stainless-Retry-Count",
    ],
)
def test_headers_of_the_client_and_of_traces_are_not(sdk: SDK, name: str) -> None:
    made = [post(sdk, "/chat/completions", json=ASK, headers={name: text}) for text in "ab"]
    assert [outcome(response) for response in made] == ["miss", "hit"]
    assert sdk.provider.requests[0].headers[name.lower()] == "a"


def test_further_paths_can_be_named(sdk: SDK) -> None:
    http = sdk.http(paths={"/v1/chat": "completion"})
    made = [post(sdk, "/chat", http, json=ASK) for _ in range(2)]
    assert [outcome(response) for response in made] == ["miss", "hit"]


def test_the_first_event_is_there_before_the_last_is_sent(any_sdk: SDK) -> None:
    chunks = events(delta("Hel"), delta("lo"), delta(finish_reason="stop"))
    any_sdk.provider.script(stream(chunks[:1], end="open"))
    client = any_sdk.openai()
    made = any_sdk.run(client.chat.completions.create(**ASK, stream=True))
    (first,) = any_sdk.read(made, most=1)
    assert first.choices[0].delta.content == "Hel"


@pytest.mark.parametrize("most", [0, 1])
def test_closing_a_stream_early_closes_the_providers_and_stores_nothing(
    any_sdk: SDK, most: int
) -> None:
    any_sdk.provider.script(stream(events(*[delta("x")] * 2000), pause=0.01), answer())
    client = any_sdk.openai()
    any_sdk.read(any_sdk.run(client.chat.completions.create(**ASK, stream=True)), most=most)
    assert any_sdk.provider.disconnected.wait(10)
    plain = any_sdk.run(client.chat.completions.with_raw_response.create(**ASK))
    assert outcome(plain) == "miss"
