"""OpenAI's own SDK with a transport: it gets what it would have got, once from the provider."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from llmcache.streams import split
from tests.servers.provider import CHAT, Provider, answer, delta, encode, events, stream
from tests.transports.conftest import Sync

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
HELLO = [delta("Hel"), delta("lo"), delta(finish_reason="stop")]
TOOL: dict[str, Any] = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1700000000,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "model": "m",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "Hello!", "annotations": [], "logprobs": []}
            ],
        }
    ],
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "usage": {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 5,
    },
}


def chat(**message: Any) -> dict[str, Any]:
    whole = {"role": "assistant", "content": None, **message}
    return {**CHAT, "choices": [{**CHAT["choices"][0], "message": whole}]}


def test_a_chat_is_asked_for_once(sdk: Sync, provider: Provider) -> None:
    create = sdk.openai(provider).chat.completions.create
    first, second = sdk.run(create, **ASKED), sdk.run(create, **ASKED)
    assert first == second
    assert second.choices[0].message.content == "Hello!"
    assert len(provider.requests) == 1


def test_headers_tell_where_an_answer_came_from(sdk: Sync, provider: Provider) -> None:
    provider.script(answer(CHAT, headers={"x-request-id": "req_7", "x-ratelimit-limit": "9"}))
    create = sdk.openai(provider).chat.completions.with_raw_response.create
    miss, hit = (sdk.run(create, **ASKED) for _ in range(2))
    assert miss.headers["x-request-id"] == "req_7"
    assert miss.headers["x-ratelimit-limit"] == "9"
    assert miss.headers["x-llmcache-outcome"] == "miss"
    assert "stored" in miss.headers["cache-status"]
    assert hit.headers["x-llmcache-outcome"] == "hit"
    assert hit.headers["age"] == "0"
    assert hit.headers["x-llmcache-saved-tokens"] == "2"
    assert "x-ratelimit-limit" not in hit.headers
    assert miss.content == hit.content


def test_another_parameter_is_another_question(sdk: Sync, provider: Provider) -> None:
    create = sdk.openai(provider).chat.completions.create
    sdk.run(create, **ASKED)
    sdk.run(create, **ASKED, temperature=0.5)
    sdk.run(create, **ASKED, extra_body={"top_k": 5})
    sdk.run(create, **ASKED, extra_query={"api-version": "2"})
    sdk.run(create, **ASKED, extra_headers={"openai-beta": "new"})
    assert len(provider.requests) == 5


def test_what_cannot_change_the_answer_makes_no_difference(sdk: Sync, provider: Provider) -> None:
    create = sdk.openai(provider).chat.completions.create
    sdk.run(create, **ASKED)
    sdk.run(create, **ASKED, timeout=7, metadata={"a": "b"}, extra_headers={"x-request-id": "1"})
    assert len(provider.requests) == 1


def test_tool_calls_come_back_whole(sdk: Sync, provider: Provider) -> None:
    provider.script(answer(chat(tool_calls=[TOOL])))
    create = sdk.openai(provider).chat.completions.create
    for _ in range(2):
        said = sdk.run(create, **ASKED, tools=[])
        assert said.choices[0].message.tool_calls[0].function.arguments == '{"city": "Oslo"}'
    assert len(provider.requests) == 1


class City(BaseModel):
    name: str


def test_structured_answers_are_parsed_from_the_cache(sdk: Sync, provider: Provider) -> None:
    provider.script(answer(chat(content='{"name": "Oslo"}')))
    parse = sdk.openai(provider).chat.completions.parse
    found = [sdk.run(parse, **ASKED, response_format=City) for _ in range(2)]
    assert [one.choices[0].message.parsed for one in found] == [City(name="Oslo")] * 2
    assert len(provider.requests) == 1


def test_a_stream_is_replayed_and_serves_a_plain_call(sdk: Sync, provider: Provider) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    last = {**delta(), "choices": [], "usage": usage}
    provider.script(stream(events(*HELLO, last)))
    create = sdk.openai(provider).chat.completions.create
    live, replayed = (sdk.items(sdk.run(create, **ASKED, stream=True)) for _ in range(2))
    assert live == replayed
    assert [chunk.choices[0].delta.content for chunk in live] == ["Hel", "lo", None]
    whole = sdk.run(create, **ASKED)
    assert whole.choices[0].message.content == "Hello"
    assert whole.usage.total_tokens == 3
    assert len(provider.requests) == 1
    asked = {"stream": True, "stream_options": {"include_usage": True}, **ASKED}
    assert provider.requests[0].json == asked


def test_who_asks_for_the_usage_of_a_stream_gets_it(sdk: Sync, provider: Provider) -> None:
    create = sdk.openai(provider).chat.completions.create
    sdk.run(create, **ASKED)
    asked = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
    chunks = sdk.items(sdk.run(create, **asked))
    assert chunks[-1].usage.total_tokens == 2
    assert len(provider.requests) == 1


def test_streamed_tool_calls_are_replayed_piece_by_piece(sdk: Sync, provider: Provider) -> None:
    def part(**function: Any) -> dict[str, Any]:
        change = {"tool_calls": [{"index": 0, **TOOL, "function": function}]}
        return {**delta(), "choices": [{"index": 0, "delta": change, "finish_reason": None}]}

    provider.script(
        stream(
            events(
                part(name="weather", arguments='{"ci'),
                part(arguments='ty": 1}'),
                delta(finish_reason="tool_calls"),
            )
        )
    )
    create = sdk.openai(provider).chat.completions.create
    live, replayed = (sdk.items(sdk.run(create, **ASKED, stream=True)) for _ in range(2))
    assert live == replayed
    assert live[1].choices[0].delta.tool_calls[0].function.arguments == 'ty": 1}'
    whole = sdk.run(create, **ASKED)
    assert whole.choices[0].message.tool_calls[0].function.arguments == '{"city": 1}'
    assert len(provider.requests) == 1


def test_responses_are_cached_whole_and_streamed(sdk: Sync, provider: Provider) -> None:
    wire = [
        encode(raw, orjson.loads(raw)["type"]) for raw in split("responses", orjson.dumps(RESPONSE))
    ]
    provider.script(stream(wire))
    create = sdk.openai(provider).responses.create
    asked = {"model": "m", "input": "Hi"}
    live, replayed = (sdk.items(sdk.run(create, **asked, stream=True)) for _ in range(2))
    assert live == replayed
    assert [event.type for event in live][-1] == "response.completed"
    assert sdk.run(create, **asked).output_text == "Hello!"
    assert len(provider.requests) == 1


@pytest.mark.parametrize("field", [{"background": True}, {"conversation": "conv_1"}])
def test_responses_that_change_something_are_never_cached(
    sdk: Sync, provider: Provider, field: dict[str, Any]
) -> None:
    provider.script(answer(RESPONSE))
    create = sdk.openai(provider).responses.create
    for _ in range(2):
        sdk.run(create, model="m", input="Hi", **field)
    assert len(provider.requests) == 2


def test_embeddings_are_cached_item_by_item(sdk: Sync, provider: Provider) -> None:
    def vectors(*values: float) -> dict[str, Any]:
        data = [
            {"object": "embedding", "index": index, "embedding": [value]}
            for index, value in enumerate(values)
        ]
        usage = {"prompt_tokens": len(values), "total_tokens": len(values)}
        return {"object": "list", "data": data, "model": "m", "usage": usage}

    provider.script(answer(vectors(1, 2)), answer(vectors(3)))
    create = sdk.openai(provider).embeddings.create
    sdk.run(create, model="m", input=["a", "b"])
    second = sdk.run(create, model="m", input=["b", "c", "a"])
    assert [part.embedding for part in second.data] == [[2.0], [3.0], [1.0]]
    assert [part.index for part in second.data] == [0, 1, 2]
    assert [seen.json["input"] for seen in provider.requests] == [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("form", "body", "kind", "said"),
    [
        ("json", b'{"text": "Hello"}', "application/json", "Hello"),
        ("text", b"Hello\n", "text/plain", "Hello\n"),
        ("srt", b"1\n00:00 --> 00:01\nHi\n", "text/plain", "1\n00:00 --> 00:01\nHi\n"),
    ],
)
def test_transcriptions_are_keyed_by_their_sound(
    sdk: Sync, provider: Provider, form: Any, body: bytes, kind: str, said: str
) -> None:
    provider.script(answer(body, content_type=kind))
    create = sdk.openai(provider).audio.transcriptions.create
    asked = {"model": "whisper-1", "response_format": form}
    first = sdk.run(create, **asked, file=("one.wav", b"sound" * 1000))
    second = sdk.run(create, **asked, file=("two.wav", b"sound" * 1000))
    assert getattr(first, "text", first) == getattr(second, "text", second) == said
    assert len(provider.requests) == 1
    assert b"sound" * 1000 in provider.requests[0].body
    sdk.run(create, **asked, file=("one.wav", b"other"))
    assert len(provider.requests) == 2


def test_other_paths_go_through_untouched(sdk: Sync, provider: Provider) -> None:
    body = {"id": "x", "results": [], "model": "m"}
    provider.script(answer(body))
    create = sdk.openai(provider).moderations.create
    for _ in range(2):
        sdk.run(create, input="words", extra_headers={"x-llmcache-ttl": "1"})
    assert len(provider.requests) == 2
    assert "x-llmcache-ttl" not in provider.requests[0].headers


def test_twenty_identical_calls_at_once_are_one(sdk: Sync, provider: Provider) -> None:
    create = sdk.openai(provider).chat.completions.create
    said = sdk.together(20, create, **ASKED)
    assert {one.choices[0].message.content for one in said} == {"Hello!"}
    assert len(provider.requests) == 1
