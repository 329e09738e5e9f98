"""Streams of views, views that fail, and many visitors at once."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings

from llmcache.exceptions import ServerFailed
from tests.views import site
from tests.views.conftest import Visitor
from tests.views.site import behaviour, closed, visits

WHOLE = b"data: one\n\n" + "data: \N{SNOWMAN}\n\n".encode() + b"\xff\x00"


def test_a_stream_is_stored_once_it_was_read_and_replayed_chunk_by_chunk(
    visitor: Visitor,
) -> None:
    first = visitor.get("streaming")
    assert first["X-LLMCache-Outcome"] == "miss"
    assert visitor.content(first) == WHOLE
    second = visitor.get("streaming")
    assert second["X-LLMCache-Outcome"] == "hit"
    assert second["Content-Type"] == "text/event-stream"
    assert second.streaming
    assert second.is_async is visitor.is_async
    assert visitor.content(second) == WHOLE
    assert visits == ["streaming"]


def test_a_stream_that_was_not_read_is_not_stored(visitor: Visitor) -> None:
    for _ in range(2):
        visitor.get("streaming")
    assert len(visits) == 2


def test_a_stream_that_breaks_off_is_not_stored_and_its_source_is_closed(
    visitor: Visitor,
) -> None:
    for number in (1, 2):
        with pytest.raises(ConnectionError):
            visitor.content(visitor.get("streaming", {"break": "1"}))
        assert len(visits) == len(closed) == number


def test_a_page_of_a_template_is_stored_rendered(visitor: Visitor) -> None:
    behaviour["do"] = site.template
    first, second = visitor.get("shared"), visitor.get("shared")
    assert b"<" in first.content
    assert first.content == second.content
    assert len(visits) == 1


def test_an_error_of_a_view_is_its_own(visitor: Visitor) -> None:
    def broken(request: Any) -> HttpResponse:
        raise LookupError("mine")

    behaviour["do"] = broken
    for _ in range(2):
        with pytest.raises(LookupError, match="mine"):
            visitor.get("shared")
    assert len(visits) == 2


@pytest.mark.parametrize("how", ["status", "provider"])
def test_an_old_answer_serves_while_the_view_fails(visitor: Visitor, how: str) -> None:
    behaviour["do"] = lambda request: HttpResponse("old")
    visitor.get("short")
    time.sleep(0.1)

    def failing(request: Any) -> HttpResponse:
        if how == "provider":
            raise ServerFailed("down", status=500)
        return HttpResponse("down", status=500)

    behaviour["do"] = failing
    found = visitor.get("short")
    assert found.content == b"old"
    assert found["X-LLMCache-Outcome"] == "stale"
    assert "ttl=-" in found["Cache-Status"]


def test_a_failing_view_without_an_old_answer_fails(visitor: Visitor) -> None:
    behaviour["do"] = lambda request: HttpResponse("down", status=503)
    found = visitor.get("short")
    assert (found.status_code, found.content) == (503, b"down")


def test_a_store_that_fails_lets_the_view_answer(visitor: Visitor) -> None:
    nowhere = {"BACKEND": "llmcache.backends.redis.RedisBackend", "LOCATION": "redis://127.0.0.1:1"}
    with override_settings(LLMCACHE={"default": nowhere}):
        found = visitor.get("whole")
    assert found.status_code == 200
    assert 'detail="the store failed"' in found["Cache-Status"]


@override_settings(ROOT_URLCONF="tests.views.site")
def test_twenty_visitors_at_once_are_one_visit() -> None:
    visits.clear()
    together = threading.Barrier(20)

    def slow(request: Any) -> HttpResponse:
        time.sleep(0.2)
        return HttpResponse("done")

    behaviour["do"] = slow

    def visit(_: int) -> bytes:
        together.wait()
        content: bytes = Client().get("/sync/shared/").content
        return content

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(visit, range(20))) == {b"done"}
    assert len(visits) == 1


@override_settings(ROOT_URLCONF="tests.views.site")
async def test_twenty_visitors_over_asgi_are_one_visit() -> None:
    visits.clear()
    behaviour["do"] = lambda request: HttpResponse("done")
    answers = await asyncio.gather(*(AsyncClient().get("/async/shared/") for _ in range(20)))
    assert {answer.content for answer in answers} == {b"done"}
    assert len(visits) == 1


@override_settings(ROOT_URLCONF="tests.views.site")
def test_answers_that_are_private_reach_their_own_visitors_at_once() -> None:
    visits.clear()
    together = threading.Barrier(8)

    def mine(request: Any) -> HttpResponse:
        time.sleep(0.1)
        response = HttpResponse(request.headers["X-Me"])
        response.set_cookie("a", "b")
        return response

    behaviour["do"] = mine

    def visit(number: int) -> bool:
        together.wait()
        found = Client().get("/sync/shared/", headers={"X-Me": str(number)})
        return bool(found.content == str(number).encode())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(visit, range(8)))
    assert len(visits) == 8
