"""What of a function's arguments makes another key."""

from __future__ import annotations

import asyncio
import enum
import inspect
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy, override
from pydantic import BaseModel, SecretStr

from llmcache import disable_cache
from llmcache.decorators import cached
from llmcache.functions.arguments import Arguments
from llmcache.keys import Uncacheable
from llmcache.keys import canonical as canonical_json
from tests.decorators.functions import Way
from tests.shop.models import Supplier


class Answer(BaseModel):
    text: str
    parts: list[int] = []


def test_positions_names_and_defaults_make_no_difference(way: Way) -> None:
    def body(a: int, b: int = 2, *, c: int = 3) -> int:
        return a + b + c

    function = way.make(body)
    assert way(function, 1) == way(function, a=1, b=2) == way(function, 1, 2, c=3) == 6
    assert way.calls == 1
    assert way(function, 1, 3) == 7


def _plain(a: Any, b: Any = 2, *, c: Any = 3) -> None: ...
def _needs(a: Any, *, c: Any) -> None: ...
def _first_only(a: Any, /, b: Any = 2) -> None: ...
def _more(a: Any, *rest: Any, c: Any = 3) -> None: ...
def _any(a: Any, **rest: Any) -> None: ...


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}), ((1,), {}), ((1, 2), {}), ((1, 2, 3), {}), ((), {"a": 1}), ((1,), {"a": 1}),
    ((1,), {"b": 5}), ((), {"a": 1, "b": 5}), ((1,), {"c": 4}), ((1, 2), {"c": 4}), ((), {"c": 4}),
    ((1, 2), {"b": 5}), ((1,), {"d": 6}), ((1,), {"c": 4, "d": 6}),
]  # fmt: skip


@pytest.mark.parametrize("function", [_plain, _needs, _first_only, _more, _any])
@pytest.mark.parametrize(("args", "kwargs"), CALLS)
def test_arguments_are_named_as_python_would(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    signature = inspect.signature(function)
    arguments = Arguments(signature)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        with pytest.raises(TypeError, match=f"^{error}$"):
            arguments.canonical(args, kwargs)
        return
    bound.apply_defaults()
    one = Arguments(inspect.signature(lambda value: None))
    named = {name: one.canonical((each,), {})["value"] for name, each in bound.arguments.items()}
    assert arguments.canonical(args, kwargs) == named


class Colour(enum.Enum):
    RED = 1


class Metres(float):
    """A number of a class of its own."""


@dataclass
class Point:
    x: int


DIFFERENT: list[Any] = [
    1, 1.0, True, "1", None, b"1", [1], (1,), {1}, frozenset({1}), {"1": 1}, {1: 1}, "None",
    date(2026, 1, 1), datetime(2026, 1, 1), "2026-01-01", timedelta(1), Decimal(1), Decimal("1.0"),
    UUID(int=1), str(UUID(int=1)), Colour.RED, "RED", mark_safe("RED"), mark_safe("x"), Metres(1.0),
    Point(1), {"x": 1}, int, 2**70, 2**70 + 1,
    float("nan"), float("inf"), Answer(text="1"), Answer(text="2"), {"text": "1"}, Supplier(pk=1),
    Supplier(pk=2), "shop.supplier:1", {"$object": "shop.supplier:1"},
]  # fmt: skip


def digest(value: Any) -> bytes:
    signature = inspect.signature(lambda value: None)
    return canonical_json(Arguments(signature).canonical((value,), {}))


def test_values_that_a_function_can_tell_apart_have_keys_of_their_own() -> None:
    assert len({digest(value) for value in DIFFERENT}) == len(DIFFERENT)


@pytest.mark.parametrize(
    ("one", "same"),
    [({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({"b", "a"}, {"a", "b"}), (gettext_lazy("a"), "a")],
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


def test_a_key_may_be_said_among_the_controls(way: Way) -> None:
    function = way.make(lambda a: a, cache={"key": "one"})
    assert [way(function, 1), way(function, object())] == [1, 1]


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


def test_a_lazy_text_is_keyed_by_what_it_says_now(way: Way) -> None:
    function = way.make(lambda text: str(text))
    for language, said in (("en", "Yes"), ("de", "Ja"), ("en", "Yes")):
        with override(language):
            assert way(function, gettext_lazy("Yes")) == said
    assert way.calls == 2


def test_mappings_are_keyed_by_what_is_in_them(way: Way) -> None:
    function = way.make(lambda given: dict(given))
    given = [MappingProxyType({"a": 1, "b": 2}), MappingProxyType({"b": 2, "a": 1})]
    assert [way(function, each) for each in given] == [{"a": 1, "b": 2}] * 2
    assert way.calls == 1
    assert way(function, MappingProxyType({"a": 1, "b": 3})) == {"a": 1, "b": 3}


def test_there_is_no_key_and_nothing_to_evict_while_the_cache_is_off() -> None:
    function = cached(lambda: 1)
    with disable_cache():
        for asked in (function.cache_key, function.evict):
            with pytest.raises(Uncacheable, match="bypasses the cache: the cache is off"):
                asked()
