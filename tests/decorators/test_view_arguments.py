"""Cached views: what functions given to the decorator say, and answers of other sorts."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Any

import pytest
from django.http import HttpResponse
from django.template.response import TemplateResponse

from llmcache import InvalidRequest
from llmcache.decorators import cached_completion
from llmcache.exceptions import BadRequest
from llmcache.maintenance import evict
from llmcache.models import Entry
from llmcache.recorder import flush
from tests.decorators.doors import Counted, Door, decorated


@pytest.mark.django_db(transaction=True)
def test_functions_say_an_answers_tags_and_namespace(site_door: Door) -> None:
    def tags(request: Any) -> list[str]:
        return [f"page:{request.GET['page']}"]

    def namespace(request: Any) -> Any:
        return request.GET.get("space")

    counted = Counted()
    view = decorated(site_door, counted, tags=tags, namespace=namespace, cache={}, key="one")
    site_door.serve(answer=view)
    site_door.ask("/answer/?page=1")
    assert site_door.ask("/answer/?page=1").content == b"answer 1"
    assert site_door.ask("/answer/?page=1&space=a").content == b"answer 2"
    assert site_door.ask("/answer/?page=2&space=b").content == b"answer 3"
    flush()
    assert set(Entry.objects.values_list("namespace", flat=True)) == {"", "a", "b"}
    assert evict(tag="page:1").removed == 2
    assert site_door.ask("/answer/?page=2&space=b").content == b"answer 3"
    assert site_door.ask("/answer/?page=1").content == b"answer 4"


def test_a_namespace_that_is_no_text_is_an_error(site_door: Door) -> None:
    site_door.serve(answer=decorated(site_door, Counted(), namespace=lambda request: 7))
    with pytest.raises(InvalidRequest, match="namespace must return a string or None, not 7"):
        site_door.ask("answer")


def test_a_key_may_stand_among_the_controls(site_door: Door) -> None:
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted, cache={"key": "one"}))
    assert {site_door.ask(f"/answer/?n={n}").content for n in range(2)} == {b"answer 1"}


def test_an_async_function_says_whose_an_answer_is(site_door: Door) -> None:
    async def scope(request: Any) -> Any:
        await asyncio.sleep(0)
        return request.headers.get("X-Tenant")

    site_door.serve(answer=decorated(site_door, Counted(), scope=scope))
    said = [site_door.ask("answer", headers={"X-Tenant": who}).content for who in "abab"]
    assert said == [b"answer 1", b"answer 2"] * 2


def test_what_caches_on_the_way_have_said_is_kept_before_our_own_word(site_door: Door) -> None:
    view = decorated(
        site_door,
        Counted(lambda request: HttpResponse("x", headers={"Cache-Status": "origin; hit"})),
    )
    site_door.serve(answer=view)
    assert site_door.ask("answer")["Cache-Status"].startswith("origin; hit, llmcache; fwd=miss")
    assert site_door.ask("answer")["Cache-Status"].startswith("llmcache; hit")


def test_django_says_what_is_wrong_with_a_view_that_gives_no_response(site_door: Door) -> None:
    site_door.serve(answer=decorated(site_door, Counted(lambda request: None)))
    with pytest.raises(ValueError, match="It returned None instead"):
        site_door.ask("answer")


def test_a_class_with_a_call_is_a_view_named_by_its_class(settings: Any) -> None:
    door = Door(settings, is_async=False)
    counted = Counted()
    door.serve(
        answer=cached_completion(counted), other=cached_completion(functools.partial(counted))
    )
    assert [door.ask(name).content for name in ("answer", "answer", "other")] == [
        b"answer 1",
        b"answer 1",
        b"answer 2",
    ]


def test_a_template_is_rendered_when_a_stale_answer_is_made_anew(site_door: Door) -> None:
    counted = Counted(
        lambda request: TemplateResponse(request, "numbered.html", {"n": counted.calls})
    )
    view = decorated(site_door, counted, ttl=0.05, scope=None, cache={"stale-while-revalidate": 60})
    site_door.serve(answer=view)
    site_door._settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    ("django.template.loaders.locmem.Loader", {"numbered.html": "page {{ n }}"})
                ]
            },
        }
    ]
    assert site_door.ask("answer").said == b"page 1"
    time.sleep(0.06)
    said = site_door.ask("answer")
    assert (said.said, said["X-LLMCache-Outcome"]) == (b"page 1", "stale")
    assert site_door.renewed("answer", b"page 1").said.startswith(b"page ")


def test_a_refused_request_fails_its_own_visitor_and_nobody_else(site_door: Door) -> None:
    """The old answer does not serve for a request that the provider calls wrong: whoever waited for
    that runs the view."""
    calls = []

    def number_of_call() -> Any:
        calls.append(1)
        return len(calls)

    def answer(number: int) -> Any:
        if number == 2:
            raise BadRequest("what is this", status=400)
        return HttpResponse(f"answer {number}")

    rescued: dict[str, Any] = {"ttl": 0.05, "cache": {"stale-if-error": 60}}

    if site_door.is_async:

        @cached_completion(scope=lambda request: "one", **rescued)
        async def cached(request: Any) -> Any:
            number = number_of_call()
            if number == 2:
                await asyncio.sleep(0.3)
            return answer(number)

        async def view(request: Any) -> Any:
            try:
                return await cached(request)
            except BadRequest as error:
                return HttpResponse(str(error), status=400)

    else:

        @cached_completion(scope=lambda request: "one", **rescued)
        def cached(request: Any) -> Any:
            number = number_of_call()
            if number == 2:
                time.sleep(0.3)
            return answer(number)

        def view(request: Any) -> Any:
            try:
                return cached(request)
            except BadRequest as error:
                return HttpResponse(str(error), status=400)

    site_door.serve(answer=view)
    assert site_door.ask("answer").content == b"answer 1"
    time.sleep(0.06)
    said = site_door.together(8, "answer")
    assert sorted(each.status_code for each in said) == [200] * 7 + [400]
    alone = [
        each for each in said if "another visitor's request failed" in each.get("Cache-Status", "")
    ]
    assert alone, "nobody waited for the one that failed"
    for each in alone:
        assert each["Cache-Control"] == "private" and "Cookie" in each["Vary"]
        assert each.content != b"answer 1"
