"""A hit leaves nothing behind: what it was asked with goes when its caller lets go of it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any
from weakref import ref

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory

from llmcache.decorators import cached, cached_completion


@pytest.fixture(autouse=True)
def without_the_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Value(str):  # noqa: SLOT000 - its reference count is watched through a weak reference
    """An argument that can be watched."""


def test_a_request_goes_with_its_response() -> None:
    @cached_completion(scope=None)
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("answer")

    def hit() -> Any:
        request = RequestFactory().get("/there?a=b")
        response = view(request)
        assert response.content == b"answer"
        return ref(request), response["X-LLMCache-Outcome"]

    assert hit()[1] == "miss"
    gone, outcome = hit()
    assert outcome == "hit"
    assert gone() is None


def test_a_request_to_an_async_view_goes_with_its_response() -> None:
    @cached_completion(scope=None)
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("answer")

    async def hit() -> Any:
        request = AsyncRequestFactory().get("/there?a=b")
        response = await view(request)
        return ref(request), response["X-LLMCache-Outcome"]

    async def twice() -> Any:
        assert (await hit())[1] == "miss"
        gone, outcome = await hit()
        return gone(), outcome

    assert asyncio.run(twice()) == (None, "hit")


def test_an_argument_goes_with_its_call() -> None:
    runs = []

    @cached
    def function(value: str) -> str:
        runs.append(value + "!")
        return "result"

    def hit() -> Any:
        value = Value("a")
        assert function(value) == "result"
        return ref(value)

    hit()
    assert hit()() is None
    assert runs == ["a!"]


def test_an_argument_goes_with_its_async_call() -> None:
    @cached
    async def function(value: str) -> str:
        return "result"

    async def hit() -> Any:
        value = Value("a")
        assert await function(value) == "result"
        return ref(value)

    async def twice() -> Any:
        await hit()
        return (await hit())()

    assert asyncio.run(twice()) is None
