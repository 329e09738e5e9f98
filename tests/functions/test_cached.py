"""`@cached` over functions, coroutines, generators and asynchronous generators."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from django.test import override_settings
from pydantic import BaseModel

import llmcache
from llmcache import cached, events
from llmcache.exceptions import InvalidRequest
from llmcache.models import Call, Entry
from llmcache.recorder import recorder
from tests.shop.models import Product


class Kind:
    """Makes one sort of decorated function, and calls it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.runner = asyncio.Runner()

    def make(self, body: Callable[..., Any], **options: Any) -> Any:
        """A decorated function of this sort that gives what the body does."""
        made: Any
        if self.name == "function":

            def made(*args: Any, **kwargs: Any) -> Any:
                return body(*args, **kwargs)

        elif self.name == "coroutine":

            async def made(*args: Any, **kwargs: Any) -> Any:
                return body(*args, **kwargs)

        elif self.name == "generator":

            def made(*args: Any, **kwargs: Any) -> Any:
                yield body(*args, **kwargs)

        else:

            async def made(*args: Any, **kwargs: Any) -> Any:
                yield body(*args, **kwargs)

        made.__qualname__ = f"made_{id(body)}"
        made.__signature__ = inspect.signature(body)
        made.__annotations__ = {}
        return cached(**options)(made)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The value that a call gives."""

        async def gathered(given: Any) -> Any:
            return [value async for value in given]

        given = function(*args, **kwargs)
        if self.name == "function":
            return given
        if self.name == "coroutine":
            return self.runner.run(given)
        (value,) = list(given) if self.name == "generator" else self.runner.run(gathered(given))
        return value


@pytest.fixture(params=["function", "coroutine", "generator", "async generator"])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    """Each sort of function in turn."""
    made = Kind(request.param)
    yield made
    made.runner.close()


class Counted:
    """A body that counts its calls."""

    def __init__(self, value: Any = "value") -> None:
        self.calls = 0
        self.value = value

    def one(self, a: Any = 1, b: Any = 2) -> Any:
        self.calls += 1
        return self.value

    @property
    def body(self) -> Callable[..., Any]:
        return lambda a=1, b=2: self.one(a, b)


VALUES = [
    None,
    True,
    0,
    -1.5,
    "text ☃",
    [1, [2.0, None]],
    {"a": {"b": []}, "": 0},
    b"\x00\xff",
    10**15,
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_comes_back_is_what_was_given(kind: Kind, value: Any) -> None:
    counted = Counted(value)
    function = kind.make(counted.body)
    first, second = kind.call(function), kind.call(function)
    assert (first, second) == (value, value)
    assert type(second) is type(value)
    assert counted.calls == 1


def test_a_hit_is_the_callers_own(kind: Kind) -> None:
    function = kind.make(Counted({"list": [1]}).body)
    kind.call(function)
    kind.call(function)["list"].append(2)
    assert kind.call(function) == {"list": [1]}


@pytest.mark.parametrize(
    "value", [(1, 2), {1, 2}, {1: 2}, date(2026, 1, 1), object(), float("nan"), 10**30, "\ud800"]
)
def test_what_would_come_back_otherwise_is_never_stored(
    kind: Kind, value: Any, counted: Callable[[str], int]
) -> None:
    body = Counted(value)
    function = kind.make(body.body)
    assert kind.call(function) is value
    assert kind.call(function) is value
    assert body.calls == 2
    assert counted("not_kept") == 2


def test_how_arguments_are_given_makes_no_difference(kind: Kind) -> None:
    counted = Counted()
    function = kind.make(counted.body)
    kind.call(function, 1, 2)
    kind.call(function, b=2, a=1)
    kind.call(function)
    assert counted.calls == 1


@dataclass
class Point:
    x: int


@dataclass
class OtherPoint:
    x: int


class Name(BaseModel):
    name: str


DIFFERENT = [
    1,
    1.5,
    True,
    "1",
    None,
    b"1",
    [1],
    (1,),
    {1},
    {"a": 1},
    {1: "a"},
    date(2026, 1, 1),
    "2026-01-01",
    Point(1),
    OtherPoint(1),
    Name(name="1"),
    {"x": 1},
]


def test_values_of_other_kinds_are_other_arguments(kind: Kind) -> None:
    counted = Counted()
    function = kind.make(counted.body)
    for _ in range(2):
        for value in DIFFERENT:
            kind.call(function, value)
    assert counted.calls == len(DIFFERENT)


@pytest.mark.django_db
def test_a_row_of_the_database_is_known_by_its_key(kind: Kind) -> None:
    counted = Counted()
    function = kind.make(counted.body)
    first, second = (Product.objects.create(name="x") for _ in range(2))
    kind.call(function, first)
    kind.call(function, Product.objects.get(pk=first.pk))
    kind.call(function, second)
    assert counted.calls == 2
    kind.call(function, Product(name="x"))
    kind.call(function, Product(name="x"))
    assert counted.calls == 4  # one that is not saved has no key yet


def test_what_cannot_be_part_of_a_key_is_not_cached_and_says_so(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    events._said.clear()  # each warning is given once
    counted = Counted()
    function = kind.make(counted.body)
    kind.call(function, object())
    kind.call(function, object())
    assert counted.calls == 2
    assert "name it in ignore, or give @cached a key" in caplog.text


def test_arguments_can_be_ignored(kind: Kind) -> None:
    counted = Counted()
    function = kind.make(counted.body, ignore=["a"])
    kind.call(function, object(), 3)
    kind.call(function, object(), 3)
    kind.call(function, object(), 4)
    assert counted.calls == 2


def test_a_key_of_ones_own_stands_for_the_arguments(kind: Kind) -> None:
    counted = Counted()
    function = kind.make(counted.body, key=lambda a, b=2: str(a % 10))
    for number in (1, 11, 21, 2):
        kind.call(function, number)
    assert counted.calls == 2


def test_two_functions_with_one_key_share_nothing(kind: Kind) -> None:
    one, other = Counted("one"), Counted("other")
    assert kind.call(kind.make(one.body, key="k")) == "one"
    assert kind.call(kind.make(other.body, key="k")) == "other"


def test_scopes_share_nothing(kind: Kind) -> None:
    counted = Counted()
    function = kind.make(counted.body, scope=lambda a, b=2: f"tenant-{b}", ignore=["b"])
    kind.call(function, 1, 1)
    kind.call(function, 1, 2)
    kind.call(function, 1, 1)
    assert counted.calls == 2


def test_another_version_starts_afresh(kind: Kind) -> None:
    body = Counted().body
    first = kind.make(body)
    second = kind.make(body, version=2)
    assert first.cache_key(1) != second.cache_key(1)


def test_a_ttl_ends(kind: Kind) -> None:
    counted = Counted()
    function = kind.make(counted.body, ttl=0.05)
    kind.call(function)
    time.sleep(0.1)
    kind.call(function)
    assert counted.calls == 2


def test_refresh_asks_the_function_and_keeps_its_new_value(kind: Kind) -> None:
    counted = Counted("old")
    function = kind.make(counted.body)
    kind.call(function, 5)
    counted.value = "new"
    assert kind.call(function.refresh, 5) == "new"
    assert kind.call(function, 5) == "new"
    assert counted.calls == 2


@pytest.mark.django_db
def test_evicting_by_arguments_and_by_tag(kind: Kind) -> None:
    counted = Counted()
    function = kind.make(counted.body, tags=lambda a, b=2: [f"a-{a}"])
    for number in (1, 2):
        kind.call(function, number)
    recorder.flush()
    function.evict(1)
    kind.call(function, 1)
    assert counted.calls == 3
    recorder.flush()
    llmcache.evict(tag="a-2")
    kind.call(function, 2)
    kind.call(function, 1)
    assert counted.calls == 4


def test_errors_are_raised_and_not_stored(kind: Kind) -> None:
    class Odd(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__("odd")

    calls = []

    def body() -> Any:
        calls.append(1)
        raise Odd(1, 2)

    function = kind.make(body)
    for _ in range(2):
        with pytest.raises(Odd):
            kind.call(function)
    assert len(calls) == 2


def test_none_may_be_left_out(kind: Kind) -> None:
    counted = Counted(None)
    function = kind.make(counted.body, store_none=False)
    kind.call(function)
    kind.call(function)
    assert counted.calls == (1 if "generator" in kind.name else 2)


def test_the_decorated_function_looks_like_itself(kind: Kind) -> None:
    def body(a: int = 1) -> str:
        """Says a word."""
        return "word"

    @cached
    def plain(a: int = 1) -> str:
        """Says a word."""
        return "word"

    assert plain.__doc__ == "Says a word."
    assert inspect.signature(plain) == inspect.signature(body)
    made = kind.make(body)
    is_async = kind.name in ("coroutine",)
    assert inspect.iscoroutinefunction(made) is is_async
    assert inspect.isgeneratorfunction(made) is (kind.name == "generator")
    assert inspect.isasyncgenfunction(made) is (kind.name == "async generator")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ttl": -1}, "ttl"),
        ({"ignore": ["c"]}, "Unknown argument"),
        ({"cache": {"tttl": 1}}, "Did you mean 'ttl'"),
    ],
)
def test_wrong_options_are_errors_where_they_stand(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        cached(**options)(lambda a: a)


def test_only_functions_can_be_decorated() -> None:
    with pytest.raises(InvalidRequest, match="decorates a function"):
        cached(int)


# --- types ---


@cached
def named(name: str) -> Name:
    return Name(name=name)


@cached
def listed(name: str) -> list[Name] | None:
    return [Name(name=name)]


@cached
def days() -> tuple[date, ...]:
    return (date(2026, 1, 1),)


@cached
def streamed() -> Iterator[Name]:
    yield Name(name="a")
    yield Name(name="b")


def test_annotated_types_come_back_as_they_were() -> None:
    for _ in range(2):
        assert named("x") == Name(name="x")
        assert listed("x") == [Name(name="x")]
        assert days() == (date(2026, 1, 1),)
        assert list(streamed()) == [Name(name="a"), Name(name="b")]
    assert named.cache_key("x") is not None


def test_our_own_responses_are_kept() -> None:
    calls = []

    @cached
    def ask(text: str) -> Any:
        calls.append(text)
        return llmcache.completion("m", messages=[{"role": "user", "content": text}])

    first, second = ask("hello"), ask("hello")
    assert first == second
    assert second.cache.hit
    assert second.choices[0].message.content == "You said: hello"
    assert calls == ["hello"]


# --- generators ---


def test_a_generator_that_is_given_up_half_way_is_not_stored_and_is_closed() -> None:
    closed = []

    @cached
    def numbers() -> Iterator[int]:
        try:
            yield from range(3)
        finally:
            closed.append(True)

    first = numbers()
    assert next(first) == 0
    first.close()
    assert closed == [True]
    assert list(numbers()) == [0, 1, 2]
    assert len(closed) == 2
    assert list(numbers()) == [0, 1, 2]
    assert len(closed) == 2


def test_values_arrive_as_they_are_yielded() -> None:
    made = []

    @cached
    def numbers() -> Iterator[int]:
        for number in range(3):
            made.append(number)
            yield number

    for number in numbers():
        assert made == list(range(number + 1))


async def test_an_async_generator_works_alike() -> None:
    made = []

    @cached
    async def numbers(most: int) -> AsyncIterator[int]:
        for number in range(most):
            made.append(number)
            yield number

    for _ in range(2):
        assert [number async for number in numbers(3)] == [0, 1, 2]
    assert made == [0, 1, 2]


def test_one_value_that_cannot_be_kept_keeps_none_of_them() -> None:
    calls = []

    @cached
    def mixed() -> Iterator[Any]:
        calls.append(1)
        yield 1
        yield (2, 3)

    assert list(mixed()) == [1, (2, 3)]
    assert list(mixed()) == [1, (2, 3)]
    assert len(calls) == 2


# --- together ---


def test_twenty_identical_calls_at_once_run_the_function_once() -> None:
    counted, started = Counted(), threading.Barrier(20)

    @cached
    def slow() -> str:
        time.sleep(0.2)
        counted.calls += 1
        return "done"

    def call(_: int) -> str:
        started.wait()
        return slow()

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(call, range(20))) == {"done"}
    assert counted.calls == 1


async def test_twenty_identical_tasks_run_the_function_once() -> None:
    counted = Counted()

    @cached
    async def slow() -> str:
        await asyncio.sleep(0.1)
        counted.calls += 1
        return "done"

    assert set(await asyncio.gather(*(slow() for _ in range(20)))) == {"done"}
    assert counted.calls == 1


def test_a_value_that_is_not_kept_goes_to_its_own_caller_only() -> None:
    started = threading.Barrier(5)

    @cached
    def fresh() -> Any:
        time.sleep(0.1)
        return (object(),)

    def call(_: int) -> Any:
        started.wait()
        return fresh()

    with ThreadPoolExecutor(5) as pool:
        assert len({id(value[0]) for value in list(pool.map(call, range(5)))}) == 5


# --- around ---


@pytest.mark.django_db
def test_calls_and_entries_are_in_the_ledger() -> None:
    function = cached(Counted().body)
    function(1)
    function(1)
    recorder.flush()
    assert list(Call.objects.order_by("pk").values_list("outcome", flat=True)) == ["miss", "hit"]
    entry = Entry.objects.get()
    assert entry.kind == "function"
    assert "<prompt: " in entry.material  # arguments are the callers' own words


def test_a_store_that_fails_lets_the_function_run() -> None:
    nowhere = {"BACKEND": "llmcache.backends.redis.RedisBackend", "LOCATION": "redis://127.0.0.1:1"}
    function = cached(Counted("here").body)
    with override_settings(LLMCACHE={"default": nowhere}):
        assert function() == "here"


def test_with_the_cache_off_the_function_always_runs(kind: Kind) -> None:
    counted = Counted()
    function = kind.make(counted.body)
    with llmcache.disable_cache():
        kind.call(function)
        kind.call(function)
    assert counted.calls == 2


def test_methods_tell_their_objects_apart_unless_told_not_to() -> None:
    @dataclass
    class Shop:
        city: str

        @cached
        def opening(self, day: str) -> str:
            return f"{self.city} {day}"

        @cached(ignore=["self"])
        def always(self) -> str:
            return self.city

    assert Shop("Oslo").opening("Monday") == "Oslo Monday"
    assert Shop("Bergen").opening("Monday") == "Bergen Monday"
    assert Shop("Oslo").always() == "Oslo"
    assert Shop("Bergen").always() == "Oslo"
