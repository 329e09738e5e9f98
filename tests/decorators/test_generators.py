"""Cached generators: recorded as they are read, and replayed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from llmcache.decorators import cached
from tests.decorators.functions import Generators


class Answer(BaseModel):
    text: str
    parts: list[int] = []


def numbers(most: int, fail: bool = False) -> Iterator[Any]:
    for number in range(most):
        yield {"n": number, "text": "a\nb\\n"}
    if fail:
        raise RuntimeError("broken")


def test_a_generator_is_recorded_as_it_is_read_and_replayed(generators: Generators) -> None:
    function = generators.make(numbers)
    wanted = list(numbers(3))
    first = generators.read(function, 3)
    assert first == wanted and first[0] is generators.made[0]
    assert generators.read(function, most=3) == wanted
    assert len(generators.made) == 3


def test_values_that_look_like_a_providers_usage_are_values(generators: Generators) -> None:
    usage = '{"choices": [], "usage": {"prompt_tokens": 1}}'
    wanted = [f"data: {usage}", usage, usage.encode(), usage[:-1].encode()]
    function = generators.make(lambda: iter(wanted))
    assert generators.read(function) == generators.read(function) == wanted
    assert len(generators.made) == len(wanted)


def test_values_arrive_as_they_are_made(generators: Generators) -> None:
    assert len(generators.read(generators.make(numbers), 3, up_to=1)) == 1
    assert len(generators.made) == 1


def test_a_generator_that_is_left_early_is_closed_and_not_stored(generators: Generators) -> None:
    function = generators.make(numbers)
    generators.read(function, 3, up_to=1)
    if not generators.is_async:
        assert generators.closed == 1
    assert len(generators.read(function, 3)) == 3 and len(generators.made) == 4


def test_a_generator_that_fails_is_not_stored(generators: Generators) -> None:
    function = generators.make(numbers)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            generators.read(function, 2, fail=True)
    assert len(generators.made) == 4


def test_a_generator_of_values_that_would_change_is_not_stored(
    generators: Generators, caplog: Any
) -> None:
    function = generators.make(lambda: iter([1, (2,), 3]))
    for _ in range(2):
        assert generators.read(function) == [1, (2,), 3]
    assert len(generators.made) == 6 and "tuple" in caplog.text


def answers(most: int) -> Iterator[Answer]:
    yield from (Answer(text=str(number)) for number in range(most))


@pytest.mark.parametrize("most", [0, 1, 3])
def test_a_generator_of_pydantic_objects_and_an_empty_one(
    generators: Generators, most: int
) -> None:
    function = generators.make(answers)
    assert generators.read(function, most) == generators.read(function, most) == list(answers(most))
    assert len(generators.made) == most


def test_a_generator_that_returns_something_besides_is_not_stored() -> None:
    calls = []

    @cached
    def values() -> Any:
        calls.append(1)
        yield 1
        return 2

    assert [list(values()), list(values())] == [[1], [1]] and len(calls) == 2


def test_a_generators_argument_without_a_key_bypasses(generators: Generators) -> None:
    function = generators.make(lambda thing: iter([1]))
    assert [generators.read(function, object()) for _ in range(2)] == [[1], [1]]


def test_refreshing_a_generator_gives_all_its_values() -> None:
    calls = []

    @cached
    def values() -> Iterator[int]:
        calls.append(1)
        yield len(calls)

    assert [list(values()), values.refresh(), list(values())] == [[1], [2], [2]]


async def test_refreshing_an_async_generator_gives_all_its_values() -> None:
    calls = []

    @cached
    async def values() -> AsyncIterator[int]:
        calls.append(1)
        yield len(calls)

    assert [value async for value in values()] == [1]
    assert await values.arefresh() == [2]
    assert [value async for value in values()] == [2]


OLD = {"ttl": 0.05, "cache": {"stale-while-revalidate": 600}}


def test_values_past_their_ttl_serve_while_they_are_made_anew(generators: Generators) -> None:
    function = generators.make(lambda: iter([len(generators.made), "b"]), **OLD)

    def until_renewed() -> Any:
        first = list(function())
        time.sleep(0.06)
        while (now := list(function())) == first:
            time.sleep(0.01)
        return first, now

    async def auntil_renewed() -> Any:
        first = [value async for value in function()]
        await asyncio.sleep(0.06)
        while (now := [value async for value in function()]) == first:
            await asyncio.sleep(0.01)  # the loop lives on, as that of a server does
        return first, now

    seen = asyncio.run(auntil_renewed()) if generators.is_async else until_renewed()
    assert seen == ([0, "b"], [2, "b"])


def test_values_made_anew_that_would_change_do_not_replace_old_ones(
    generators: Generators, counted: Any
) -> None:
    function = generators.make(lambda: iter([{2} if generators.made else 1]), **OLD)

    def until_refused() -> Any:
        list(function())
        time.sleep(0.06)
        while not counted("function_refused"):
            list(function())
            time.sleep(0.01)
        return list(function())

    async def auntil_refused() -> Any:
        [value async for value in function()]
        await asyncio.sleep(0.06)
        while not counted("function_refused"):
            [value async for value in function()]
            await asyncio.sleep(0.01)
        return [value async for value in function()]

    seen = asyncio.run(auntil_refused()) if generators.is_async else until_refused()
    assert seen == [1]
