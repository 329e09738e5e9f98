"""An entry that this version of the site cannot use is made anew, and then serves again."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from pydantic import BaseModel

from llmcache.functions import values
from llmcache.views import answers
from tests.decorators.doors import Counted, Door, decorated
from tests.decorators.functions import Generators, Way


class Before(BaseModel):
    good: bool


class After(BaseModel):
    good: bool
    why: str


def test_a_result_of_a_class_that_has_changed_is_made_anew_once(way: Way, caplog: Any) -> None:
    classes: list[Any] = [Before]

    def body() -> Any:
        return classes[0](good=True, why="so")

    function = way.make(body, returns=Before, key="one")
    assert [way(function) for _ in range(2)] == [Before(good=True)] * 2 and way.calls == 1
    classes[0] = After
    changed = again(way.make(body, returns=After, key="one"), function)
    assert [way(changed) for _ in range(3)] == [After(good=True, why="so")] * 3
    assert way.calls == 2
    assert "an entry cannot be used" in caplog.text


def test_a_result_of_a_class_that_is_named_no_longer_is_made_anew(way: Way) -> None:
    found: list[Any] = [Before(good=True)]
    function = way.make(lambda: found[0], returns=Before, key="two")
    way(function)
    found[0] = {"good": True}
    changed = again(way.make(lambda: found[0], key="two"), function)
    assert [way(changed) for _ in range(2)] == [{"good": True}] * 2


def test_a_result_of_another_format_is_made_anew_once(way: Way, monkeypatch: Any) -> None:
    function = way.make(lambda: way.calls)
    assert way(function) == 1
    monkeypatch.setattr(values, "VERSION", 99)
    monkeypatch.setattr(values, "_HEAD", {"version": 99})
    assert [way(function) for _ in range(2)] == [2, 2]


def again(function: Any, of: Any) -> Any:
    """The function under the name that another had before the site was changed."""
    cached = closure(function)
    object.__setattr__(cached, "name", closure(of).name)
    return function


def closure(function: Any) -> Any:
    return function.cache_key.__self__


def test_values_of_a_class_that_has_changed_are_made_anew_before_the_first_is_given(
    generators: Generators,
) -> None:
    found: list[Any] = [1, Before(good=True)]

    def body() -> Any:
        yield from found

    function = generators.make(body, returns=Before, key="values")
    assert [generators.read(function) for _ in range(2)] == [found] * 2
    found[1] = After(good=True, why="so")
    generators.made.clear()
    changed = generators.make(body, returns=After, key="values")
    assert [generators.read(changed) for _ in range(3)] == [found] * 3
    assert generators.made == found


def test_values_of_another_format_are_made_anew_once(
    generators: Generators, monkeypatch: Any
) -> None:
    function = generators.make(lambda: iter([len(generators.made)]))
    assert generators.read(function) == [0]
    monkeypatch.setattr(values, "VERSION", 99)
    monkeypatch.setattr(values, "_HEAD", {"version": 99})
    assert [generators.read(function) for _ in range(2)] == [[1], [1]]


@pytest.mark.parametrize("streams", [False, True])
def test_an_answer_of_another_format_is_made_anew_once(
    site_door: Door, monkeypatch: Any, streams: bool
) -> None:
    def answer(request: Any) -> Any:
        said = f"answer {counted.calls}".encode()
        if streams:
            return StreamingHttpResponse(site_door.chunks(part for part in (said,)))
        return HttpResponse(said)

    counted = Counted(answer)
    site_door.serve(answer=decorated(site_door, counted, scope=lambda request: "somebody"))
    site_door.ask("answer")
    monkeypatch.setattr(answers, "VERSION", 99)
    said = [site_door.ask("answer") for _ in range(3)]
    assert [each.said for each in said] == [b"answer 2"] * 3
    assert [each["X-LLMCache-Outcome"] for each in said] == ["miss", "hit", "hit"]
    assert {(each["Cache-Control"], each["Vary"]) for each in said} == {
        ("private", "Cookie, Authorization, X-Api-Key")
    }
