"""The snippets of LiteLLM's caching page on functions that keep answers in a place of one's own."""

from __future__ import annotations

from typing import Any

import pytest

import llmcache
from llmcache.caching import Cache
from llmcache.exceptions import InvalidRequest
from llmcache.upstreams.fake import FakeUpstream
from tests.test_page import JOKE


class Kept:
    """A user's own store."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}

    def add(self, result: Any, **kwargs: Any) -> None:
        self.answers[str(kwargs["messages"])] = result.model_dump()


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


@pytest.mark.parametrize("described", [False, True])
def test_functions_outlive_an_update_and_get_the_new_cache(door: Any, described: bool) -> None:
    kept, got = Kept(), []
    cache = llmcache.cache if described else Cache()

    def get_cache(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        got.append(self)
        return kept.answers.get(str(kwargs["messages"]))

    cache.get_cache, cache.add_cache = get_cache, kept.add
    llmcache.cache = cache
    updated = llmcache.update_cache(ttl=60)
    for outcome in ("miss", "hit"):
        answer = door.completion(model="gpt-3.5-turbo", messages=JOKE)
        assert answer.cache.outcome == outcome
    assert set(map(id, got)) == {id(llmcache.cache)} and llmcache.cache is not cache
    assert len(kept.answers) == 1 and updated is not None


@pytest.mark.parametrize("name", ["get_cache_key", "get_cache", "async_add_cache"])
def test_what_is_no_function_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{name} must be a function, not 5"):
        setattr(Cache(), name, 5)
