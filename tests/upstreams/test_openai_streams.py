"""Streams of the OpenAI-compatible upstream: complete, broken, closed early, cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from llmcache.exceptions import StreamBroken, UpstreamError, UpstreamTimeout
from tests.servers.provider import Provider, answer, delta, events, stream
from tests.upstreams.test_openai import Driver, request, upstream

HELLO = [delta("Hel"), delta("lo"), delta(finish_reason="stop")]


def said(chunks: list[bytes]) -> str:
    parsed = [orjson.loads(chunk) for chunk in chunks]
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in parsed)


def test_a_stream_gives_each_events_json_and_no_end_marker(
    driver: Driver, provider: Provider
) -> None:
    provider.script(stream(events(*HELLO)))
    chunks = driver.stream(upstream(provider), request())
    assert [orjson.loads(chunk) for chunk in chunks] == HELLO
    assert provider.requests[0].json["stream"] is True


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_how_the_network_cuts_a_stream_makes_no_difference(
    driver: Driver, provider: Provider, size: int
) -> None:
    wire = b": hello\r\n\r\ndata:\r\n\r\n" + b"".join(events(*HELLO)).replace(b"\n", b"\r\n")
    provider.script(stream([wire[at : at + size] for at in range(0, len(wire), size)]))
    assert said(driver.stream(upstream(provider), request())) == "Hello"


def test_data_of_several_lines_becomes_one(driver: Driver, provider: Provider) -> None:
    spread = b'data: {"choices": [\ndata: {"index": 0, "finish_reason": "stop"}]}\n\n'
    provider.script(stream([spread]))
    (chunk,) = driver.stream(upstream(provider), request())
    assert b"\n" not in chunk
    assert orjson.loads(chunk)["choices"][0]["finish_reason"] == "stop"


def test_usage_is_asked_for_unless_it_is_turned_off(driver: Driver, provider: Provider) -> None:
    provider.script(stream(events(*HELLO)))
    options: dict[str, Any] = {"unkeyed": {"stream_options": {"include_obfuscation": False}}}
    driver.stream(upstream(provider), request(**options))
    driver.stream(upstream(provider, stream_usage=False), request())
    asked, plain = (seen.json.get("stream_options") for seen in provider.requests)
    assert asked == {"include_obfuscation": False, "include_usage": True}
    assert plain is None


def test_a_plain_call_sends_no_options_of_streams(driver: Driver, provider: Provider) -> None:
    driver.call(upstream(provider), request(unkeyed={"stream_options": {"include_usage": True}}))
    assert "stream_options" not in provider.requests[0].json


@pytest.mark.parametrize("end", ["clean", "broken"])
def test_a_stream_that_just_ends_is_broken(driver: Driver, provider: Provider, end: str) -> None:
    provider.script(stream(events(delta("Hel"), done=False), end=end))
    with pytest.raises(StreamBroken):
        driver.stream(upstream(provider), request())
    assert len(provider.requests) == 1


def test_a_stream_without_a_marker_is_complete_when_all_choices_have_ended(
    driver: Driver, provider: Provider
) -> None:
    provider.script(stream(events(*HELLO, done=False)))
    assert said(driver.stream(upstream(provider), request())) == "Hello"


def test_one_choice_that_has_not_ended_breaks_a_stream(driver: Driver, provider: Provider) -> None:
    other = delta("x", index=1)
    provider.script(stream(events(other, *HELLO, done=False)))
    with pytest.raises(StreamBroken, match="before it was complete"):
        driver.stream(upstream(provider), request())


@pytest.mark.parametrize(
    "wire", [b"", b"data: not json\n\n", b"data: [1]\n\n", b"<html>busy</html>"]
)
def test_what_is_no_stream_is_broken(driver: Driver, provider: Provider, wire: bytes) -> None:
    provider.script(stream([wire] if wire else []))
    with pytest.raises(StreamBroken):
        driver.stream(upstream(provider), request())


def test_a_plain_answer_to_a_stream_is_broken(driver: Driver, provider: Provider) -> None:
    provider.script(answer())
    with pytest.raises(StreamBroken):
        driver.stream(upstream(provider), request())


@pytest.mark.parametrize(
    "wire",
    [
        b'data: {"error": {"message": "overloaded"}}\n\n',
        b'event: error\ndata: {"message": "overloaded"}\n\n',
        b'data: {"type": "error", "code": "x", "message": "overloaded"}\n\n',
    ],
)
def test_an_error_within_a_stream_is_raised(
    driver: Driver, provider: Provider, wire: bytes
) -> None:
    provider.script(stream([*events(delta("Hel"), done=False), wire]))
    with pytest.raises(UpstreamError, match="overloaded"):
        driver.stream(upstream(provider), request())


@pytest.mark.parametrize("last", ["completed", "incomplete", "failed"])
def test_a_response_is_complete_with_its_final_event(
    driver: Driver, provider: Provider, last: str
) -> None:
    begun = {"type": "response.created", "response": {"object": "response", "error": None}}
    final = {"type": f"response.{last}", "response": {"id": "resp_1"}}
    provider.script(stream(events(begun, final, done=False), end="open"))
    asked = request("responses", params={"input": "Hi"})
    chunks = driver.stream(upstream(provider), asked)
    assert [orjson.loads(chunk) for chunk in chunks] == [begun, final]
    assert "stream_options" not in provider.requests[0].json
    provider.script(stream(events(begun, done=False)))
    with pytest.raises(StreamBroken):
        driver.stream(upstream(provider), asked)


def test_events_arrive_while_the_stream_goes_on(driver: Driver, provider: Provider) -> None:
    provider.script(stream(events(*HELLO, done=False), end="open"))
    assert said(driver.stream(upstream(provider), request(), most=2)) == "Hello"


def test_a_stream_that_falls_silent_is_a_timeout(driver: Driver, provider: Provider) -> None:
    provider.script(stream(events(delta("Hel"), done=False), end="open"))
    with pytest.raises(UpstreamTimeout):
        driver.stream(upstream(provider, timeout=0.2), request())
    assert len(provider.requests) == 1


def test_closing_a_stream_early_closes_its_connection(driver: Driver, provider: Provider) -> None:
    provider.script(stream(events(*[delta("word ")] * 2000), pause=0.01))
    assert len(driver.stream(upstream(provider), request(), most=2)) == 2
    assert provider.disconnected.wait(10)


async def test_cancelling_a_stream_closes_its_connection(provider: Provider) -> None:
    provider.script(stream(events(*[delta("word ")] * 2000), pause=0.01))
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in upstream(provider).astream(request()):
            begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(provider.disconnected.wait, 10)
