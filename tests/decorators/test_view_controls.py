"""Cached views: controls of the site and of visitors, old answers, failing stores, wrong words."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.views import View

import llmcache
from llmcache import InvalidRequest, UpstreamError
from llmcache.decorators import cached_completion
from llmcache.exceptions import ServerFailed
from tests.decorators.doors import Counted, Door, decorated


def test_visitors_may_use_only_the_directives_that_the_site_allows(site_door: Door) -> None:
    counted = Counted()
    site_door.serve(
        closed=decorated(site_door, counted),
        opened=decorated(site_door, counted, client_controls=["no-cache"]),
    )
    fresh = {"headers": {"Cache-Control": "no-cache"}}
    assert [site_door.ask("closed", **fresh).content for _ in range(2)] == [b"answer 1"] * 2
    assert site_door.ask("opened").content == b"answer 2"
    assert site_door.ask("opened", **fresh).content == b"answer 3"
    assert site_door.ask("opened").content == b"answer 3"


def test_client_controls_of_the_configuration_hold_where_the_decorator_says_nothing(
    site_door: Door, settings: Any
) -> None:
    settings.LLMCACHE_CONFIG = {"CLIENT_CONTROLS": ["no-store"]}
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    for _ in range(2):
        site_door.ask("answer", headers={"Cache-Control": "no-store"})
    assert counted.calls == 2


def test_a_visitor_cannot_take_an_older_answer_than_the_site_allows(site_door: Door) -> None:
    view = decorated(site_door, Counted(), cache={"s-maxage": 0.05}, client_controls=["max-age"])
    site_door.serve(answer=view)
    site_door.ask("answer")
    time.sleep(0.06)
    said = site_door.ask("answer", headers={"Cache-Control": "max-age=3600"})
    assert said.content == b"answer 2"


@pytest.mark.parametrize("expose", [True, False])
def test_only_if_cached_with_nothing_cached_is_504(site_door: Door, expose: bool) -> None:
    counted = Counted()
    view = decorated(site_door, counted, client_controls=["only-if-cached"], expose=expose)
    site_door.serve(answer=view)
    wanted = {"headers": {"Cache-Control": "only-if-cached"}}
    said = site_door.ask("answer", **wanted)
    assert said.status_code == 504 and said["Cache-Status"].startswith("llmcache; fwd=miss")
    assert ("X-LLMCache-Key" in said) is expose
    site_door.ask("answer")
    assert site_door.ask("answer", **wanted).content == b"answer 1"


def test_what_is_not_to_be_exposed_is_not(site_door: Door) -> None:
    site_door.serve(answer=decorated(site_door, Counted(), expose=False))
    first, second = site_door.ask("answer"), site_door.ask("answer")
    assert first["Cache-Status"] == "llmcache; fwd=miss; stored"
    assert second["Cache-Status"].startswith("llmcache; hit; ttl=") and second["Age"] == "0"
    assert not [name for name in second.headers if name.startswith("X-LLMCache")]


@pytest.mark.parametrize("failure", ["error", "status"])
def test_an_old_answer_serves_for_a_view_whose_provider_fails(
    site_door: Door, failure: str
) -> None:
    counted = Counted()

    def answer(request: Any) -> Any:
        if counted.calls == 1:
            return HttpResponse("old")
        if failure == "error":
            raise ServerFailed("the provider is down", status=503)
        return HttpResponse("down", status=502)

    counted._answer = answer
    rescued = {"ttl": 0.05, "cache": {"stale-if-error": 60}}
    site_door.serve(answer=decorated(site_door, counted, **rescued))
    assert site_door.ask("answer").content == b"old"
    threading.Event().wait(0.06)
    said = site_door.ask("answer")
    assert (said.content, said["X-LLMCache-Outcome"]) == (b"old", "stale")
    assert counted.calls == 2


def test_without_an_old_answer_the_views_failure_is_its_visitors(site_door: Door) -> None:
    def fail(request: Any) -> Any:
        raise ServerFailed("down", status=503)

    site_door.serve(answer=decorated(site_door, Counted(fail), cache={"stale-if-error": 60}))
    with pytest.raises(UpstreamError, match="down"):
        site_door.ask("answer")


@pytest.mark.parametrize("streams", [False, True])
def test_a_stale_answer_serves_while_the_view_makes_a_new_one(
    site_door: Door, streams: bool
) -> None:
    counted = Counted()

    def answer(request: Any) -> Any:
        said = b"answer %d" % counted.calls
        if not streams:
            return HttpResponse(said)
        return StreamingHttpResponse(site_door.chunks(part for part in (said[:3], said[3:])))

    counted._answer = answer
    view = decorated(site_door, counted, ttl=0.05, scope=None, cache={"stale-while-revalidate": 60})
    site_door.serve(answer=view)
    assert site_door.ask("answer").said == b"answer 1"
    time.sleep(0.06)
    said = site_door.ask("answer")
    assert (said.said, said["X-LLMCache-Outcome"]) == (b"answer 1", "stale")
    said = site_door.renewed("answer", b"answer 1")
    assert said["X-LLMCache-Outcome"] in ("hit", "stale") and said.streaming is streams


def test_what_is_private_by_now_does_not_replace_an_old_answer(site_door: Door) -> None:
    counted, renewed = Counted(), threading.Event()

    def answer(request: Any) -> Any:
        response = HttpResponse(f"answer {counted.calls}")
        if counted.calls > 1:
            response.set_cookie("a", "b")
            renewed.set()
        return response

    counted._answer = answer
    view = decorated(site_door, counted, ttl=0.05, scope=None, cache={"stale-while-revalidate": 60})
    site_door.serve(answer=view)
    site_door.ask("answer")
    time.sleep(0.06)
    while not renewed.is_set():
        assert site_door.ask("answer").said == b"answer 1"
        site_door.sleep(0.01)
    site_door.sleep(0.05)
    assert site_door.ask("answer").said == b"answer 1"


def test_the_cache_switched_off_leaves_the_view_alone(site_door: Door) -> None:
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    with llmcache.disable_cache():
        said = [site_door.ask("answer") for _ in range(2)]
    assert [each.content for each in said] == [b"answer 1", b"answer 2"]
    assert said[0]["Cache-Status"] == "llmcache; fwd=bypass"


def test_a_store_that_fails_does_not_break_the_view(site_door: Door, monkeypatch: Any) -> None:
    from llmcache import caching

    backend = caching.for_alias("default").backend  # type: ignore[union-attr]

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise OSError("away")

    for name in ("get", "aget", "set", "aset", "set_many", "aset_many"):
        monkeypatch.setattr(backend, name, broken, raising=False)
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    said = [site_door.ask("answer").content for _ in range(3)]
    assert said == [b"answer 1", b"answer 2", b"answer 3"]


def test_a_hit_asks_the_database_nothing(
    site_door: Door, db: Any, django_assert_num_queries: Any
) -> None:
    site_door.serve(answer=decorated(site_door, Counted()))
    site_door.ask("answer")
    with django_assert_num_queries(0):
        assert site_door.ask("answer")["X-LLMCache-Outcome"] == "hit"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ttl": -1}, "ttl"),
        ({"ttl": 1, "cache": {"ttl": 2}}, "given twice"),
        ({"cache": {"tll": 1}}, "Did you mean 'ttl'"),
        ({"scope": "users"}, 'must be "user", "session"'),
        ({"methods": ["PUT"]}, "Known: GET, HEAD, POST"),
        ({"methods": "GET"}, "list of names"),
        ({"client_controls": ["no-chache"]}, "Did you mean 'no-cache'"),
        ({"vary_on": "Cookie"}, "list of names"),
        ({"key": 3}, "key must be"),
        ({"tags": "books"}, "list of strings"),
    ],
)
def test_wrong_arguments_are_errors_where_the_decorator_is_written(given: Any, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        cached_completion(**given)


def test_a_class_is_refused_with_the_right_way() -> None:
    with pytest.raises(InvalidRequest, match="method_decorator"):
        cached_completion(View)
