"""OpenAI's SDK over the transport: its calls miss once and then hit, and read the same."""

from __future__ import annotations

from typing import Any

import openai
import pydantic
import pytest

from llmcache.conf import ProviderSettings
from llmcache.upstreams.base import UpstreamRequest
from llmcache.upstreams.fake import FakeUpstream
from tests.servers.provider import CHAT, answer, delta, encode, events, stream
from tests.transports.conftest import SDK, outcome

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
TOOL: Any = {"type": "function", "function": {"name": "look_up", "parameters": {}}}


def fake() -> FakeUpstream:
    options = {"responses": {"Hi": "One two three, four five six, seven eight nine."}}
    return FakeUpstream(ProviderSettings(name="fake", options=options))


def of_kind(kind: str, **params: Any) -> UpstreamRequest:
    return UpstreamRequest(kind=kind, model="m", params=params)


def test_the_second_call_is_a_hit_and_reads_the_same(any_sdk: SDK) -> None:
    client = any_sdk.openai()
    ask = client.chat.completions.with_raw_response.create
    first, second = any_sdk.run(ask(**ASK)), any_sdk.run(ask(**ASK))
    assert (outcome(first), outcome(second)) == ("miss", "hit")
    assert first.parse() == second.parse()
    assert second.parse().choices[0].message.content == "Hello!"
    assert len(any_sdk.provider.requests) == 1
    assert "age" in second.headers and second.headers["cache-status"].startswith("llmcache; hit")


def test_a_miss_keeps_the_headers_of_the_provider(any_sdk: SDK) -> None:
    given = {"x-request-id": "req_7", "x-ratelimit-remaining-requests": "99"}
    any_sdk.provider.script(answer(headers=given))
    completion = any_sdk.run(any_sdk.openai().chat.completions.create(**ASK))
    assert completion._request_id == "req_7"
    raw = any_sdk.run(any_sdk.openai().chat.completions.with_raw_response.create(**ASK, n=1))
    assert raw.headers["x-ratelimit-remaining-requests"] == "99"
    assert "fwd=miss" in raw.headers["cache-status"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_an_encoded_answer_is_decoded_once(any_sdk: SDK, coding: str) -> None:
    import gzip
    import zlib

    import orjson

    packed = {"gzip": gzip.compress, "deflate": zlib.compress}[coding](orjson.dumps(CHAT))
    headers = {"Content-Encoding": coding}
    any_sdk.provider.script(answer(packed, headers=headers), answer(packed, 400, headers))
    client = any_sdk.openai()
    for _ in range(2):
        raw = any_sdk.run(client.chat.completions.with_raw_response.create(**ASK))
        assert raw.parse().id == "chatcmpl-1"
        assert "content-encoding" not in raw.headers
    with pytest.raises(openai.BadRequestError) as caught:
        any_sdk.run(client.chat.completions.create(**ASK, n=2))
    assert caught.value.response.json() == CHAT  # an error's body is decoded as well


def test_a_stream_is_replayed_with_its_tool_calls(any_sdk: SDK) -> None:
    made = list(fake().stream(of_kind("completion", **ASK, tools=[TOOL], tool_choice="required")))
    any_sdk.provider.script(stream([*map(encode, made), encode(b"[DONE]")]))
    client = any_sdk.openai()
    params = {**ASK, "tools": [TOOL], "tool_choice": "required"}
    finals = [
        any_sdk.final(client.chat.completions.stream(**params), "get_final_completion")
        for _ in range(2)
    ]
    (call,) = finals[0].choices[0].message.tool_calls
    assert call.function.name == "look_up"
    assert finals[0].model_dump() == finals[1].model_dump()
    assert len(any_sdk.provider.requests) == 1


def test_a_stream_asks_for_its_usage_and_hides_it(any_sdk: SDK) -> None:
    usage = {**CHAT, "object": "chat.completion.chunk", "choices": []}
    chunks = [delta("Hel"), delta("lo!"), delta(finish_reason="stop"), usage]
    any_sdk.provider.script(stream(events(*chunks)))
    client = any_sdk.openai()
    first = any_sdk.read(any_sdk.run(client.chat.completions.create(**ASK, stream=True)))
    assert any_sdk.provider.requests[0].json["stream_options"] == {"include_usage": True}
    assert all(chunk.choices for chunk in first)
    shown = any_sdk.run(
        client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
    )
    assert any_sdk.read(shown)[-1].usage.total_tokens == 2
    plain = any_sdk.run(client.chat.completions.create(**ASK))
    assert plain.choices[0].message.content == "Hello!"
    assert plain.usage.total_tokens == 2
    assert len(any_sdk.provider.requests) == 1


def test_stream_usage_can_be_left_out(sdk: SDK) -> None:
    sdk.provider.script(stream(events(delta("Hi"), delta(finish_reason="stop"))))
    client = sdk.openai(http=sdk.http(stream_usage=False))
    sdk.read(sdk.run(client.chat.completions.create(**ASK, stream=True)))
    assert "stream_options" not in sdk.provider.requests[0].json


def test_a_plain_answer_serves_a_stream(any_sdk: SDK) -> None:
    client = any_sdk.openai()
    any_sdk.run(client.chat.completions.create(**ASK))
    chunks = any_sdk.read(any_sdk.run(client.chat.completions.create(**ASK, stream=True)))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert (text, len(any_sdk.provider.requests)) == ("Hello!", 1)


def test_a_structured_output_is_parsed_from_a_hit(sdk: SDK) -> None:
    class Word(pydantic.BaseModel):
        word: str

    choice = {**CHAT["choices"][0], "message": {"role": "assistant", "content": '{"word": "x"}'}}
    sdk.provider.script(answer({**CHAT, "choices": [choice]}))
    client = sdk.openai()
    for _ in range(2):
        found = sdk.run(client.chat.completions.parse(**ASK, response_format=Word))
        assert found.choices[0].message.parsed == Word(word="x")
    assert len(sdk.provider.requests) == 1


def test_responses_plain_and_streamed_share_an_entry(sdk: SDK) -> None:
    import orjson

    made = list(fake().stream(of_kind("responses", input="Hi")))
    sdk.provider.script(stream([encode(event, orjson.loads(event)["type"]) for event in made]))
    client = sdk.openai()
    ask = {"model": "m", "input": "Hi"}
    finals = [sdk.final(client.responses.stream(**ask), "get_final_response") for _ in range(2)]
    assert finals[0].output_text == "One two three, four five six, seven eight nine."
    assert finals[0].model_dump() == finals[1].model_dump()
    plain = sdk.run(client.responses.create(**ask))
    assert plain.output_text == finals[0].output_text
    assert len(sdk.provider.requests) == 1


def test_text_completions_are_cached(sdk: SDK) -> None:
    sdk.provider.script(answer(fake().call(of_kind("text_completion", prompt="Hi"))))
    client = sdk.openai()
    texts = [sdk.run(client.completions.create(model="m", prompt="Hi")) for _ in range(2)]
    assert texts[0].choices[0].text == texts[1].choices[0].text != ""
    assert len(sdk.provider.requests) == 1


def test_embeddings_are_cached_item_by_item_in_the_encoding_of_the_sdk(sdk: SDK) -> None:
    upstream = fake()

    def embed(handler: Any) -> None:
        asked = sdk.provider.requests[-1].json
        params = {"input": asked["input"], "encoding_format": asked["encoding_format"]}
        answer(upstream.call(of_kind("embedding", **params)))(handler)

    sdk.provider.script(embed)
    client = sdk.openai()
    sdk.run(client.embeddings.create(model="m", input=["a", "b"]))
    raw = sdk.run(client.embeddings.with_raw_response.create(model="m", input=["c", "b", "a"]))
    found = raw.parse()
    assert [request.json["input"] for request in sdk.provider.requests] == [["a", "b"], ["c"]]
    assert sdk.provider.requests[0].json["encoding_format"] == "base64"
    assert raw.headers["x-llmcache-items"] == "2/3"
    assert [part.index for part in found.data] == [0, 1, 2]
    alone = sdk.run(client.embeddings.create(model="m", input="b"))
    assert alone.data[0].embedding == found.data[1].embedding
    assert isinstance(alone.data[0].embedding[0], float)
    assert len(sdk.provider.requests) == 2


@pytest.mark.parametrize(
    ("format", "type"),
    [("srt", "application/x-subrip"), ("vtt", "text/vtt"), ("text", "text/plain")],
)
def test_a_transcript_as_text_is_keyed_by_the_file_and_stays_text(
    sdk: SDK, format: str, type: str
) -> None:
    text = "1\n00:00 --> 00:01\nGrüße\n\n"
    sdk.provider.script(answer(text.encode(), content_type="text/plain; charset=utf-8"))
    ask = sdk.openai().audio.transcriptions.with_raw_response.create
    params = {"model": "m", "response_format": format}
    raw = [sdk.run(ask(file=(name, b"RIFF"), **params)) for name in ("a.wav", "b.wav")]
    assert [outcome(response) for response in raw] == ["miss", "hit"]
    assert raw[0].text == raw[1].text == text
    assert raw[1].headers["content-type"] == f"{type}; charset=utf-8"
    sdk.run(ask(file=("a.wav", b"other"), **params))
    assert len(sdk.provider.requests) == 2


def test_a_transcript_as_json_is_cached(sdk: SDK) -> None:
    sdk.provider.script(answer({"text": "Hello"}))
    client = sdk.openai()
    for _ in range(2):
        found = sdk.run(client.audio.transcriptions.create(model="m", file=("a.wav", b"RIFF")))
        assert found.text == "Hello"
    assert len(sdk.provider.requests) == 1


def test_a_streaming_response_can_be_read_in_any_way(any_sdk: SDK) -> None:
    client = any_sdk.openai()

    def lines() -> Any:
        if not any_sdk.is_async:
            with client.chat.completions.with_streaming_response.create(**ASK) as response:
                return [*response.iter_bytes()]

        async def read() -> Any:
            made = client.chat.completions.with_streaming_response.create(**ASK)
            async with made as response:
                return [part async for part in response.iter_bytes()]

        return any_sdk.run(read())

    assert b"".join(lines()) == b"".join(lines())
    assert len(any_sdk.provider.requests) == 1


def test_azure_addresses_are_cached_with_their_version_in_the_key(sdk: SDK) -> None:
    make = openai.AsyncAzureOpenAI if sdk.is_async else openai.AzureOpenAI
    endpoint = sdk.provider.base_url.removesuffix("/v1")
    for version in ("2024-06-01", "2024-06-01", "2024-10-21"):
        client = make(
            api_key="k-1234567",
            api_version=version,
            azure_endpoint=endpoint,
            http_client=sdk.http(),
        )
        sdk.run(client.chat.completions.create(**ASK))
    paths = [request.path for request in sdk.provider.requests]
    assert paths == ["/openai/deployments/m/chat/completions"] * 2
