"""Cached functions: how they run, and what a decorated one has."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from django.urls import reverse

import llmcache
from llmcache import InvalidRequest
from llmcache.decorators import cached
from llmcache.exceptions import NotCached, ServerFailed
from llmcache.models import Call, Entry
from llmcache.recorder import flush
from tests.decorators.functions import Way


def test_identical_calls_at_once_run_the_function_once(way: Way) -> None:
    go = threading.Event()
    threading.Timer(0.5, go.set).start()

    def body(a: int) -> list[int]:
        go.wait(5)
        return [a]

    function = way.make(body)
    answers = way.together(100, function, 1)
    assert answers == [[1]] * 100 and way.calls == 1
    assert len({id(each) for each in answers}) == 100


def test_errors_are_the_functions_own_and_are_not_stored(way: Way) -> None:
    def body() -> None:
        try:
            raise KeyError("why")
        except KeyError as cause:
            raise ZeroDivisionError(f"number {way.calls}") from cause

    function = way.make(body)
    for number in (1, 2):
        with pytest.raises(ZeroDivisionError, match=f"number {number}") as raised:
            way(function)
        assert isinstance(raised.value.__cause__, KeyError)


def test_an_error_that_cannot_be_copied_reaches_each_caller(way: Way) -> None:
    class Odd(Exception):
        def __init__(self, *, word: str) -> None:
            super().__init__(word)

    def body() -> None:
        time.sleep(0.05)
        raise Odd(word="x")

    function = way.make(body)
    assert [type(each) for each in way.together(5, function)] == [Odd] * 5
    assert way.calls == 5


def test_an_old_result_serves_while_the_provider_fails(way: Way) -> None:
    def body() -> str:
        if way.calls > 1:
            raise ServerFailed("down", status=503)
        return "old"

    function = way.make(body, ttl=0.05, cache={"stale-if-error": 60})
    assert way(function) == "old"
    time.sleep(0.06)
    assert way(function) == "old" and way.calls == 2


def test_controls_hold(way: Way) -> None:
    only = way.make(lambda: 1, cache={"only-if-cached": True})
    with pytest.raises(NotCached):
        way(only)
    fresh = way.make(lambda: way.calls, cache={"no-cache": True})
    assert [way(fresh), way(fresh)] == [1, 2]


def test_a_function_that_calls_itself_alike_does_not_wait_for_itself(way: Way) -> None:
    def body(n: int) -> int:
        if way.calls > 1 or way.is_async:
            return n
        return function(n)  # type: ignore[no-any-return]

    function = way.make(body)
    assert way(function, 3) == 3


def test_with_the_cache_off_the_function_just_runs(way: Way) -> None:
    function = way.make(lambda: (1, 2))
    with llmcache.disable_cache():
        assert [way(function), way(function)] == [(1, 2)] * 2


def test_it_looks_like_what_it_wraps() -> None:
    def plain(a: int, b: str = "x") -> int:
        """What it does."""
        return a

    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    wrapped = cached(plain)
    assert (wrapped.__name__, wrapped.__doc__) == ("plain", "What it does.")
    assert inspect.signature(wrapped) == inspect.signature(plain)
    assert wrapped.__wrapped__ is plain  # type: ignore[attr-defined]
    assert inspect.iscoroutinefunction(cached(coroutine))
    assert inspect.isgeneratorfunction(cached(generator))
    assert inspect.isasyncgenfunction(cached(async_generator))
    with pytest.raises(TypeError, match="missing"):
        wrapped()  # type: ignore[call-arg]


@pytest.mark.django_db(transaction=True)
def test_one_result_can_be_evicted_and_renewed() -> None:
    calls = []

    @cached(tags=lambda n: [f"number {n}"])
    def function(n: int) -> int:
        calls.append(n)
        return len(calls)

    assert [function(5), function(5), function(6)] == [1, 1, 2]
    assert function.evict(5).removed == 1
    assert [function(5), function(6)] == [3, 2]
    assert function.refresh(6) == 4 and function(6) == 4
    assert asyncio.run(function.arefresh(n=6)) == 5 and function(6) == 5
    assert asyncio.run(function.aevict(6)).removed == 1
    assert function(6) == 6
    flush()
    entry = Entry.objects.get(digest=function.cache_key(n=6))
    assert entry.kind == "function" and entry.model.endswith("function")
    assert [tag.name for tag in entry.tags.all()] == ["number 6"]
    llmcache.evict(tag="number 5")
    assert function(5) == 7


@pytest.mark.django_db(transaction=True)
def test_one_result_of_an_async_function_can_be_evicted_and_renewed() -> None:
    calls = []

    @cached
    async def function(n: int) -> int:
        calls.append(n)
        return len(calls)

    assert [asyncio.run(function(5)), function.refresh(5)] == [1, 2]
    assert asyncio.run(function.arefresh(5)) == 3
    assert function.evict(5).removed == 1
    assert asyncio.run(function(5)) == 4


@pytest.mark.django_db
def test_the_ledger_counts_the_tokens_and_the_money_that_a_result_tells_of(settings: Any) -> None:
    settings.LLMCACHE_CONFIG = {"PRICING": {"priced": {"input": 1_000_000, "output": 2_000_000}}}

    @cached
    def ask(question: str) -> dict[str, Any]:
        return {"model": "priced", "usage": {"input_tokens": 3, "output_tokens": 4}}

    ask("words")
    ask("words")
    flush()
    entry = Entry.objects.get()
    assert (entry.input_tokens, entry.output_tokens, entry.cost) == (3, 4, 11)
    assert "words" in entry.preview and '"words"' not in entry.material
    assert Call.objects.get(outcome="hit").saved_cost == 11


@pytest.mark.django_db
def test_the_admin_cannot_ask_a_function_again_and_says_so(
    settings: Any, admin_client: Any
) -> None:
    settings.LLMCACHE_CONFIG = {"STORE_PROMPTS": "full"}
    cached(lambda question: 1)("words")
    flush()
    page = reverse("admin:llmcache_entry_change", args=[Entry.objects.get().pk])
    assert "words" in admin_client.get(page).content.decode()
    again = reverse("admin:llmcache_entry_again", args=[Entry.objects.get().pk])
    assert "function of this site" in admin_client.post(again, follow=True).content.decode()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ttl": -1}, "ttl"),
        ({"ttl": 1, "cache": {"ttl": 2}}, "given twice"),
        ({"cache": {"tll": 1}}, "Did you mean 'ttl'"),
        ({"ignore": "self"}, "ignore must be a list"),
        ({"key": ""}, "key must be"),
        ({"scope": 3}, "scope must be"),
        ({"returns": int}, "pydantic class"),
        ({"version": 1.5}, "version must be"),
        ({"tags": "books"}, "list of strings"),
    ],
)
def test_wrong_arguments_are_errors_where_the_decorator_is_written(given: Any, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        cached(**given)


def test_what_cannot_be_decorated_is_refused_with_the_right_way() -> None:
    with pytest.raises(InvalidRequest, match="above @cached"):
        cached(staticmethod(len))  # type: ignore[type-var]
    with pytest.raises(InvalidRequest, match="wrap it in a function of your own"):
        cached(max)
    with pytest.raises(InvalidRequest, match="decorates functions"):
        cached("key")  # type: ignore[call-overload]
    with pytest.raises(InvalidRequest, match="Did you mean 'self'"):
        cached(ignore=("slef",))(Way.__init__)
