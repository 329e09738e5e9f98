"""Streams: replayed as recorded, stored only when whole, and interchangeable with plain answers."""

from __future__ import annotations

from typing import Any

import pytest

from llmcache.exceptions import ServerFailed, StreamBroken
from llmcache.upstreams.fake import FakeUpstream

ASK = {"model": "m", "messages": [{"role": "user", "content": "Count " + "on and on " * 20}]}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


def raws(chunks: list[Any]) -> list[bytes]:
    return [chunk.raw for chunk in chunks]


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_a_replay_equals_the_recorded_stream(door: Any, upstream: FakeUpstream) -> None:
    live = door.completion(**ASK, stream=True)
    first = door.chunks(live)
    replay = door.completion(**ASK, stream=True)
    second = door.chunks(replay)
    assert (live.cache.outcome, replay.cache.outcome) == ("miss", "hit")
    assert raws(first) == raws(second)
    assert len(first) > 4
    assert upstream.call_count == 1


def test_the_usage_chunk_comes_only_to_those_who_asked(door: Any) -> None:
    wanted = {"stream_options": {"include_usage": True}}
    with_usage = door.chunks(door.completion(**ASK, stream=True, **wanted))
    without = door.chunks(door.completion(**ASK, stream=True))
    again = door.chunks(door.completion(**ASK, stream=True, **wanted))
    assert with_usage[-1].choices == [] and with_usage[-1].usage.total_tokens > 0
    assert raws(without) == raws(with_usage)[:-1]
    assert raws(again) == raws(with_usage)


def test_a_streamed_answer_serves_a_plain_call(door: Any, upstream: FakeUpstream) -> None:
    chunks = door.chunks(door.completion(**ASK, stream=True))
    plain = door.completion(**ASK)
    assert plain.cache.hit
    assert plain.choices[0].message.content == text_of(chunks)
    assert plain.object == "chat.completion"
    assert plain.choices[0].finish_reason == "stop"
    assert plain.usage.total_tokens == plain.cache.saved_tokens > 0


def test_a_plain_answer_serves_a_streamed_call(door: Any) -> None:
    plain = door.completion(**ASK)
    stream = door.completion(**ASK, stream=True)
    chunks = door.chunks(stream)
    assert stream.cache.hit
    assert text_of(chunks) == plain.choices[0].message.content
    assert {chunk.id for chunk in chunks} == {plain.id}


def test_tool_calls_replay_as_streamed(door: Any) -> None:
    asked = {**ASK, "tools": TOOLS, "tool_choice": "required"}
    first = door.chunks(door.completion(**asked, stream=True))
    assert raws(door.chunks(door.completion(**asked, stream=True))) == raws(first)
    call = door.completion(**asked).choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("f", '{"text":"fake"}')


def test_a_stream_given_up_half_way_is_not_stored(door: Any, upstream: FakeUpstream) -> None:
    door.chunks(door.completion(**ASK, stream=True), most=2)
    assert door.completion(**ASK).cache.outcome == "miss"
    assert upstream.call_count == 2


def test_a_broken_stream_is_not_stored(
    door: Any, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmcache.upstreams import fake

    def broken(kind: str, body: bytes) -> Any:
        yield b'{"id":"1","choices":[{"index":0,"delta":{"content":"half"}}]}'
        raise StreamBroken("the stream ended before it was complete")

    with monkeypatch.context() as patched:
        patched.setattr(fake, "split", broken)
        stream = door.completion(**ASK, stream=True)
        with pytest.raises(StreamBroken):
            door.chunks(stream)
    assert door.completion(**ASK).cache.outcome == "miss"


def test_a_request_that_fails_fails_before_the_first_chunk(
    door: Any, upstream: FakeUpstream
) -> None:
    upstream.fail = 503
    with pytest.raises(ServerFailed):
        door.completion(**ASK, stream=True)


def test_a_cut_stream_is_not_stored(door: Any, upstream: FakeUpstream) -> None:
    upstream.finish_reason = "length"
    stream = door.completion(**ASK, stream=True)
    door.chunks(stream)
    assert "length" in stream.cache.reason
    assert door.completion(**ASK).cache.outcome == "miss"


def test_a_stream_is_used_in_a_with_block() -> None:
    import llmcache

    with llmcache.completion(**ASK, stream=True) as stream:
        next(stream)
    assert list(stream) == []


def test_stale_if_error_serves_streams_too(door: Any, upstream: FakeUpstream) -> None:
    first = door.chunks(
        door.completion(**ASK, stream=True, cache={"ttl": 0.1, "stale-if-error": 60})
    )
    door.sleep(0.15)
    upstream.fail = 500
    stream = door.completion(**ASK, stream=True, cache={"stale-if-error": 60})
    assert stream.cache.outcome == "stale"
    assert raws(door.chunks(stream)) == raws(first)


@pytest.mark.parametrize(
    ("function", "asked"),
    [
        ("text_completion", {"model": "m", "prompt": "Once upon a time"}),
        ("responses", {"model": "m", "input": "Tell me of the sea"}),
    ],
)
def test_the_other_families_stream_and_replay(door: Any, function: str, asked: Any) -> None:
    call = getattr(door, function)
    first = door.chunks(call(**asked, stream=True))
    assert raws(door.chunks(call(**asked, stream=True))) == raws(first)
    plain = call(**asked)
    assert plain.cache.hit
    again = call(**asked, cache={"namespace": "plain"})
    assert door.chunks(call(**asked, stream=True, cache={"namespace": "plain"}))
    if function == "responses":
        assert plain.output_text == again.output_text == "You said: Tell me of the sea"
        assert first[0].type == "response.created"
        assert first[-1].type == "response.completed"
    else:
        assert plain.choices[0].text == again.choices[0].text == "You said: Once upon a time"


def test_an_embedding_cannot_stream(door: Any) -> None:
    with pytest.raises(ValueError, match="stream"):
        door.embedding(model="e", input="a", stream=True)
