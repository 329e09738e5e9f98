"""The snippets of LiteLLM's caching page on functions that keep answers in a place of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llmcache
from llmcache.caching import Cache
from llmcache.upstreams.fake import FakeUpstream
from tests.test_page import JOKE


class Kept:
    """A user's own store."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}

    def functions(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        def add_cache(this: Any, result: Any, *args: Any, **kwargs: Any) -> None:
            self.answers[str(kwargs["messages"])] = result.model_dump()

        def get_cache(this: Any, *args: Any, **kwargs: Any) -> Any:
            return self.answers.get(str(kwargs["messages"]))

        return add_cache, get_cache


def test_custom_add_and_get_functions(door: Any, upstream: FakeUpstream) -> None:
    kept = Kept()
    cache = Cache()

    def add_cache(self, result, *args, **kwargs):  # type: ignore[no-untyped-def]
        assert self is cache
        kept.answers[str(kwargs["messages"])] = result.model_dump()

    def get_cache(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        return kept.answers.get(str(kwargs["messages"]))

    cache.add_cache = add_cache
    cache.get_cache = get_cache
    llmcache.cache = cache
    first = door.completion(model="gpt-3.5-turbo", messages=JOKE)
    second = door.completion(model="gpt-3.5-turbo", messages=JOKE)
    assert second.cache.hit and second == first
    assert len(kept.answers) == upstream.call_count == 1
    assert door.chunks(door.completion(model="gpt-3.5-turbo", messages=JOKE, stream=True))
    assert upstream.call_count == 1


def test_custom_async_functions_serve_sync_calls_too(door: Any, upstream: FakeUpstream) -> None:
    kept: dict[str, Any] = {}
    cache = Cache()

    async def add(result: Any, **kwargs: Any) -> None:
        kept[kwargs["model"]] = result

    async def get(**kwargs: Any) -> Any:
        return kept.get(kwargs["model"])

    cache.async_add_cache, cache.async_get_cache = add, get
    llmcache.cache = cache
    first = door.completion(model="gpt-3.5-turbo", messages=JOKE)
    assert door.completion(model="gpt-3.5-turbo", messages=JOKE) == first
    assert upstream.call_count == 1


def test_custom_functions_that_fail_are_a_miss(door: Any, counted: Any) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("broken")

    cache = Cache()
    cache.get_cache = cache.add_cache = broken
    llmcache.cache = cache
    response = door.completion(model="gpt-3.5-turbo", messages=JOKE)
    assert response.cache.outcome == "error"
    assert (counted("read_error"), counted("write_error")) == (1, 1)
