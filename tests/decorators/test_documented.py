"""The pages about views and functions: the views are cached, and the tables name every argument."""

from __future__ import annotations

import asyncio
import inspect
import re
from typing import Any

import pytest
from django.test import AsyncRequestFactory, RequestFactory

from llmcache.decorators import cached, cached_completion
from tests.docs.blocks import PAGES, blocks

VIEWS = [block.code for block in blocks("views")]


def run(code: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "documented"}
    exec(compile(code, "documented", "exec"), namespace)
    return namespace


@pytest.mark.parametrize(
    ("number", "view"), [(0, "answer"), (1, "chat"), (2, "Summary"), (3, "report"), (4, "poem")]
)
def test_the_views_of_the_page_answer_and_are_cached(number: int, view: str) -> None:
    found = run(VIEWS[number])[view]
    found = found.as_view() if isinstance(found, type) else found
    is_async = inspect.iscoroutinefunction(found)
    factory: Any = AsyncRequestFactory() if is_async else RequestFactory()
    make = factory.post if view == "Summary" else factory.get

    async def ask(request: Any) -> Any:
        response = await found(request)
        return response, b"".join([part async for part in response])

    outcomes, bodies = [], []
    for _ in range(2):
        request = make("/?q=hello", headers={"X-Tenant": "a"})
        response, body = asyncio.run(ask(request)) if is_async else (found(request), None)
        outcomes.append(response["X-LLMCache-Outcome"])
        bodies.append(body or response.content)
    assert outcomes == ["miss", "hit"] and bodies[0] == bodies[1] != b""


def test_all_code_of_the_page_about_views_is_tried() -> None:
    assert len(VIEWS) == 5


@pytest.mark.parametrize(
    ("name", "decorator"), [("views", cached_completion), ("functions", cached)]
)
def test_every_argument_is_documented_and_none_besides(name: str, decorator: Any) -> None:
    table = PAGES[name].read_text().split("| Argument |")[1].split("\n\n")[0]
    documented = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    arguments = inspect.signature(decorator).parameters.values()
    assert documented == [each.name for each in arguments if each.kind is each.KEYWORD_ONLY]
