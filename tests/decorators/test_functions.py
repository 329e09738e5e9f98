"""Cached functions: what keys a call, what is stored, and how it comes back."""

from __future__ import annotations

import asyncio
import enum
import inspect
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.urls import reverse
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

import llmcache
from llmcache import InvalidRequest
from llmcache.decorators import cached
from llmcache.exceptions import NotCached, ServerFailed
from llmcache.functions.arguments import canonical
from llmcache.keys import Uncacheable
from llmcache.keys import canonical as canonical_json
from llmcache.models import Call, Entry
from llmcache.recorder import flush
from tests.shop.models import Supplier


class Way:
    """Makes and calls sync or async functions from one sync body."""

    def __init__(self, is_async: bool) -> None:
        self.is_async = is_async
        self.calls = 0

    def make(self, body: Any, **options: Any) -> Any:
        """A decorated function whose calls are counted."""

        def function(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return body(*args, **kwargs)

        async def afunction(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return function(*args, **kwargs)

        chosen: Any = afunction if self.is_async else function
        chosen.__signature__ = inspect.signature(body)
        chosen.__annotations__ = getattr(body, "__annotations__", {})
        # In a module, as it would be: names with <locals> are fine, but must differ.
        chosen.__qualname__ = f"{body.__qualname__}-{id(self)}"
        return cached(**options)(chosen) if options else cached(chosen)

    def __call__(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        said = function(*args, **kwargs)
        return asyncio.run(said) if self.is_async else said

    def together(self, number: int, function: Any, *args: Any) -> list[Any]:
        if not self.is_async:
            with ThreadPoolExecutor(number) as pool:
                return list(pool.map(lambda _: function(*args), range(number)))

        async def ask() -> list[Any]:
            return await asyncio.gather(*(function(*args) for _ in range(number)))

        return asyncio.run(ask())


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param == "async")


class Answer(BaseModel):
    text: str
    parts: list[int] = []


class Hidden(BaseModel):
    text: str
    secret: str = Field(exclude=True)


# --- values ---


@pytest.mark.parametrize(
    "value",
    [None, True, 1, -1.5, "", "ü\ud83d\ude00", b"\x00\n\\", [], {}, {"a": [1, {"b": None}]}, 2**63],
)
def test_a_value_comes_back_equal_and_of_its_type(way: Way, value: Any) -> None:
    value = (
        value.encode("utf-16", "surrogatepass").decode("utf-16") if type(value) is str else value
    )
    function = way.make(lambda: value)
    first, second = way(function), way(function)
    assert way.calls == 1
    assert (first, type(first)) == (second, type(second)) == (value, type(value))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((1, 2), "tuple"),
        ({1, 2}, "set"),
        ({"a": (1,)}, "tuple"),
        ({1: "a"}, "use strings as keys"),
        (datetime(2026, 1, 1, tzinfo=UTC), "datetime"),
        (mark_safe("x"), "SafeString"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (2**70, "64 bits"),
        (Decimal("1.0"), "Decimal"),
        ("\ud800", "JSON"),
        (object(), "object"),
        (Answer(text="a"), "give returns=Answer"),
    ],
)  # fmt: skip
def test_a_value_that_would_come_back_changed_is_returned_but_not_stored(
    way: Way, value: Any, words: str, caplog: Any
) -> None:
    function = way.make(lambda: value)
    assert way(function) is value and way(function) is value
    assert way.calls == 2
    assert words in caplog.text and "not stored" in caplog.text


def test_a_deep_value_is_returned_but_not_stored(way: Way) -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    function = way.make(lambda: deep)
    assert way(function) is deep and way(function) is deep


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
        | st.tuples(st.integers()) | st.dates(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
        max_leaves=8,
    )
)  # fmt: skip
def test_whatever_comes_back_is_what_was_returned(value: Any) -> None:
    llmcache.cache.backend.clear()
    function = cached(key="one")(lambda: value)
    first, second = function(), function()
    assert first is value
    assert repr(second) == repr(value)


def test_every_caller_has_a_copy_of_its_own(way: Way) -> None:
    function = way.make(lambda: {"a": [1]})
    for _ in range(3):
        value = way(function)
        assert value == {"a": [1]}
        value["a"].append(2)


def test_none_is_stored_unless_that_is_not_wanted(way: Way) -> None:
    stored, fresh = way.make(lambda: None, key="a"), way.make(lambda: None, store_none=False)
    for _ in range(2):
        assert way(stored) is None
    assert way.calls == 1
    for _ in range(2):
        assert way(fresh) is None
    assert way.calls == 3


def answer() -> Answer:
    return Answer(text="a\nb", parts=[1])


def optional_answer() -> Answer | None:
    return Answer(text="b")


def nameless() -> Any:
    return Answer(text="c")


@pytest.mark.parametrize(
    ("body", "options"), [(answer, {}), (optional_answer, {}), (nameless, {"returns": Answer})]
)
def test_pydantic_objects_come_back_as_their_class(way: Way, body: Any, options: Any) -> None:
    function = way.make(body, ttl=60, **options)
    first, second = way(function), way(function)
    assert way.calls == 1 and first == second and type(second) is Answer


def test_a_pydantic_object_that_hides_a_field_is_not_stored(way: Way) -> None:
    function = way.make(lambda: Hidden(text="a", secret="b"), returns=Hidden)
    assert way(function).secret == way(function).secret == "b"
    assert way.calls == 2


def test_a_response_comes_back_as_a_response_and_nested_calls_are_fine(
    way: Way, upstream: Any
) -> None:
    question = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    function = way.make(lambda: llmcache.completion(**question))
    first, second = way(function), way(function)
    assert (way.calls, upstream.call_count) == (1, 1)
    assert type(second) is llmcache.Response and second.raw == first.raw
    assert second.cache.outcome == "hit" and second.cache.saved_tokens == first.cache.usage.total


# --- keys ---


def test_positions_names_and_defaults_make_no_difference(way: Way) -> None:
    def body(a: int, b: int = 2, *, c: int = 3) -> int:
        return a + b + c

    function = way.make(body)
    assert way(function, 1) == way(function, a=1, b=2) == way(function, 1, 2, c=3) == 6
    assert way.calls == 1
    assert way(function, 1, 3) == 7


class Colour(enum.Enum):
    RED = 1


@dataclass
class Point:
    x: int


DIFFERENT: list[Any] = [
    1, 1.0, True, "1", None, b"1", [1], (1,), {1}, frozenset({1}), {"1": 1}, {1: 1}, "None",
    date(2026, 1, 1), datetime(2026, 1, 1), "2026-01-01", timedelta(1), Decimal(1), Decimal("1.0"),
    UUID(int=1), str(UUID(int=1)), Colour.RED, "RED", Point(1), {"x": 1}, int, 2**70, 2**70 + 1,
    float("nan"), float("inf"), Answer(text="1"), Answer(text="2"), {"text": "1"}, Supplier(pk=1),
    Supplier(pk=2), "shop.supplier:1", {"$object": "shop.supplier:1"},
]  # fmt: skip


def digest(value: Any) -> bytes:
    signature = inspect.signature(lambda value: None)
    return canonical_json(canonical(signature, (value,), {}, ()))


def test_values_that_a_function_can_tell_apart_have_keys_of_their_own() -> None:
    assert len({digest(value) for value in DIFFERENT}) == len(DIFFERENT)


@pytest.mark.parametrize(
    ("one", "same"),
    [({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({"b", "a"}, {"a", "b"}), (mark_safe("a"), "a")],
)
def test_values_that_are_equal_share_a_key(one: Any, same: Any) -> None:
    assert digest(one) == digest(same)


class Login(BaseModel):
    password: SecretStr


@pytest.mark.parametrize(
    "value", [object(), Supplier(), lambda: None, Login(password=SecretStr("a")), iter([1])]
)
def test_an_argument_without_a_key_bypasses_the_cache_and_the_warning_helps(
    way: Way, value: Any, caplog: Any
) -> None:
    def body(first: int, thing: Any) -> int:
        return first

    function = way.make(body)
    for _ in range(2):
        assert way(function, 1, value) == 1
    assert way.calls == 2
    assert "'thing'" in caplog.text and "ignore=('thing',)" in caplog.text and "key=" in caplog.text
    with pytest.raises(Uncacheable, match="thing"):
        function.cache_key(1, value)


def test_ignored_arguments_make_no_difference(way: Way) -> None:
    def body(a: int, thing: Any = None, **more: Any) -> int:
        return a

    function = way.make(body, ignore=("thing", "trace"))
    assert [way(function, 1, object()), way(function, 1, trace=object())] == [1, 1]
    assert way.calls == 1


def test_a_key_of_ones_own_stands_for_the_arguments(way: Way) -> None:
    function = way.make(lambda a, b: a, key=lambda a, b: f"a{a}")
    assert [way(function, 1, object()), way(function, 1, b=2), way(function, 2, 1)] == [1, 1, 2]
    assert way.calls == 2


def test_two_functions_with_one_key_share_nothing() -> None:
    def one() -> int:
        return 1

    def two() -> int:
        return 2

    mark = cached(key="same")
    assert (mark(one)(), mark(two)()) == (1, 2)


def test_version_namespace_and_scope_are_parts_of_the_key(way: Way, settings: Any) -> None:
    tenant = "a"
    settings.LLMCACHE_CONFIG = {"SCOPE": lambda: tenant}

    def body(who: str) -> int:
        return way.calls

    options: list[dict[str, Any]] = [
        {"ttl": 9},
        {"version": 1},
        {"version": 2},
        {"namespace": "n"},
        {"namespace": lambda who: who},
        {"scope": "s"},
        {"scope": lambda who: who},
    ]
    functions = [way.make(body, **each) for each in options]
    first = [way(function, "x") for function in functions]
    assert first == list(range(1, 8))
    assert [way(function, "x") for function in functions] == first
    tenant = "b"
    assert [way(function, "x") for function in functions] == list(range(8, 15))


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    @cached
    def plain(self, word: str) -> str:
        return f"{self.name} {word}"

    @cached(ignore=("self",))
    def shared(self, word: str) -> str:
        return f"{self.name} {word}"

    @cached(key=lambda self, word: f"{self.name} {word}")
    async def keyed(self, word: str) -> str:
        return f"{self.name} {word}"

    @classmethod
    @cached
    def of_class(cls, word: str) -> str:
        return f"{cls.__name__} {word}"

    @staticmethod
    @cached
    def static(word: str) -> str:
        return word


class OtherShop(Shop):
    pass


def test_methods_need_a_self_that_has_a_key_or_say_that_it_does_not_matter(counted: Any) -> None:
    ann, bob = Shop("ann"), Shop("bob")
    assert (ann.plain("x"), bob.plain("x")) == ("ann x", "bob x")
    assert counted("uncacheable") == 2
    assert (ann.shared("x"), bob.shared("x")) == ("ann x", "ann x")
    assert asyncio.run(ann.keyed("x")) == "ann x"
    assert asyncio.run(bob.keyed("x")) == "bob x"
    assert (Shop.of_class("x"), OtherShop.of_class("x")) == ("Shop x", "OtherShop x")
    assert Shop.static("x") == Shop.static("x") == "x"


# --- running ---


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
    with pytest.raises(Odd):
        way.together(5, function)


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


# --- generators ---


def numbers(most: int, fail: bool = False) -> Iterator[Any]:
    for number in range(most):
        yield {"n": number, "text": "a\nb\\n"}
    if fail:
        raise RuntimeError("broken")


class Generators:
    """A generator function, sync or async, and its values."""

    def __init__(self, is_async: bool) -> None:
        self.is_async = is_async
        self.made: list[Any] = []
        self.closed = 0

    def make(self, body: Any, **options: Any) -> Any:
        def values(*args: Any, **kwargs: Any) -> Iterator[Any]:
            try:
                for value in body(*args, **kwargs):
                    self.made.append(value)
                    yield value
            finally:
                self.closed += 1

        async def avalues(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            for value in values(*args, **kwargs):
                await asyncio.sleep(0)
                yield value

        chosen: Any = avalues if self.is_async else values
        chosen.__annotations__ = getattr(body, "__annotations__", {})
        chosen.__signature__ = inspect.signature(body)
        return cached(**options)(chosen) if options else cached(chosen)

    def read(self, function: Any, *args: Any, up_to: int | None = None, **kwargs: Any) -> list[Any]:
        if not self.is_async:
            values = function(*args, **kwargs)
            if up_to is None:
                return list(values)
            found = [next(values) for _ in range(up_to)]
            values.close()
            return found

        async def read() -> list[Any]:
            values = function(*args, **kwargs)
            if up_to is None:
                return [value async for value in values]
            found = [await anext(values) for _ in range(up_to)]
            await values.aclose()
            return found

        return asyncio.run(read())


@pytest.fixture(params=["sync", "async"])
def generators(request: pytest.FixtureRequest) -> Generators:
    return Generators(request.param == "async")


def test_a_generator_is_recorded_as_it_is_read_and_replayed(generators: Generators) -> None:
    function = generators.make(numbers)
    wanted = list(numbers(3))
    first = generators.read(function, 3)
    assert first == wanted and first[0] is generators.made[0]
    assert generators.read(function, most=3) == wanted
    assert len(generators.made) == 3


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


# --- what a decorated function has ---


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


def test_refreshing_a_generator_gives_all_its_values() -> None:
    calls = []

    @cached
    def values() -> Iterator[int]:
        calls.append(1)
        yield len(calls)

    assert [list(values()), values.refresh(), list(values())] == [[1], [2], [2]]


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
    with pytest.raises(InvalidRequest, match="decorates functions"):
        cached("key")  # type: ignore[call-overload]
    with pytest.raises(InvalidRequest, match="Did you mean 'self'"):
        cached(ignore=("slef",))(Shop.__init__)
