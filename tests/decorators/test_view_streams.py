"""Cached views that stream: replayed chunk by chunk, broken off, left by their visitor."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.http import StreamingHttpResponse

from llmcache.decorators import cached_completion
from tests.decorators.doors import Counted, Door, decorated

USAGE = b'{"choices":[],"usage":{"prompt_tokens":1}}'
CHUNKS = [
    *(b"data: one\n\n", b"", b"data: \\n \\\\ two\n\n", bytes(range(256)), b'{"choices":[]}'),
    *(b"data: %s\n\n" % USAGE, USAGE, USAGE[:-1]),  # as a view passes on a provider's events
]


def test_a_stream_is_replayed_chunk_by_chunk(site_door: Door) -> None:
    counted = Counted(
        lambda request: StreamingHttpResponse(
            site_door.chunks(part for part in CHUNKS), content_type="text/event-stream"
        )
    )
    site_door.serve(answer=decorated(site_door, counted))
    first, second = site_door.ask("answer"), site_door.ask("answer")
    assert counted.calls == 1
    assert first.said == second.said == b"".join(CHUNKS)
    assert second["Content-Type"] == "text/event-stream"
    assert (first["X-LLMCache-Outcome"], second["X-LLMCache-Outcome"]) == ("miss", "hit")
    assert second.streaming


def test_a_stream_that_breaks_reaches_its_caller_and_is_not_stored(site_door: Door) -> None:
    def parts() -> Any:
        yield b"one"
        raise RuntimeError("broken")

    counted = Counted(lambda request: StreamingHttpResponse(site_door.chunks(parts())))
    site_door.serve(answer=decorated(site_door, counted))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            site_door.ask("answer")
    assert counted.calls == 2


@pytest.mark.django_db  # Django looks at its connections when a response is closed
def test_a_visitor_who_goes_away_closes_the_views_stream_and_nothing_is_stored(
    site_door: Door,
) -> None:
    closed = []

    def parts() -> Any:
        try:
            for number in range(1000):
                yield b"%d" % number
        finally:
            closed.append(True)

    counted = Counted(lambda request: StreamingHttpResponse(site_door.chunks(parts())))
    site_door.serve(answer=decorated(site_door, counted))
    if site_door.is_async:

        async def leave() -> None:
            response = await site_door.client().get("/answer/")
            content = response._iterator
            assert await anext(content) == b"0"
            await content.aclose()
            del response, content
            while not closed:  # what nobody holds any more is closed by the loop
                await asyncio.sleep(0.01)

        site_door.run(leave())
    else:
        response = site_door.client().get("/answer/")
        assert next(iter(response.streaming_content)) == b"0"
        response.close()
    assert closed == [True]
    assert site_door.ask("answer")["X-LLMCache-Outcome"] == "miss"


def test_the_first_chunk_arrives_before_the_second_is_made(site_door: Door) -> None:
    made = []

    def parts() -> Any:
        for number in range(3):
            made.append(number)
            yield b"%d" % number

    view = decorated(site_door, Counted(lambda r: StreamingHttpResponse(site_door.chunks(parts()))))
    site_door.serve(answer=view)
    if site_door.is_async:

        async def first() -> None:
            response = await site_door.client().get("/answer/")
            assert await anext(response._iterator) == b"0"

        site_door.run(first())
    else:
        assert next(iter(site_door.client().get("/answer/"))) == b"0"
    assert made == [0]


def test_who_follows_a_stream_gets_one_of_their_own(site_door: Door) -> None:
    counted = Counted()

    def answer(request: Any) -> Any:
        number = counted.calls
        return StreamingHttpResponse(site_door.chunks(b"%d " % number for _ in range(3)))

    counted._answer = answer
    site_door.serve(answer=decorated(site_door, counted, scope=None))

    async def read(response: Any) -> bytes:
        return b"".join([part async for part in response])

    answers = site_door.together(5, "answer")
    said = [site_door.run(read(each)) if site_door.is_async else b"".join(each) for each in answers]
    assert len(said) == 5 and all(len(set(each.split())) == 1 for each in said)
    assert all(len(each.split()) == 3 for each in said)


def test_a_sync_view_under_asgi_replays_an_async_stream(settings: Any) -> None:
    door = Door(settings, is_async=True)

    @cached_completion
    def answer(request: Any) -> Any:
        return StreamingHttpResponse(part for part in (b"one", b"two"))

    door.serve(answer=answer)
    with pytest.warns(Warning, match="synchronous iterators"):
        assert door.ask("answer").said == b"onetwo"
    second = door.ask("answer")
    assert (second.said, second["X-LLMCache-Outcome"]) == (b"onetwo", "hit")
    assert second.is_async
