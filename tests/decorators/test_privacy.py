"""Answers that are somebody's own are not stored for all."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.test import RequestFactory

from llmcache.decorators import cached_completion
from llmcache.views.watching import Watch
from tests.decorators.doors import Counted, Door, decorated

pytestmark = pytest.mark.django_db(transaction=True)


def stored(door: Door, answer: Any, client: Any = None, **kwargs: Any) -> Any:
    """The second of two answers of a view; its outcome tells whether the first was stored."""
    counted = Counted(answer)
    door.serve(answer=decorated(door, counted, **kwargs))
    client = client or door.client()
    door.ask("answer", client)
    return door.ask("answer", client)


def outcome(response: Any) -> str:
    return str(response["X-LLMCache-Outcome"])


def with_header(name: str, value: str) -> Any:
    return lambda request: HttpResponse("x", headers={name: value})


def with_cookie(request: Any) -> Any:
    response = HttpResponse("x")
    response.set_cookie("a", "b")
    return response


def with_message(request: Any) -> Any:
    messages.info(request, "for you")
    return HttpResponse("x")


def with_token(request: Any) -> Any:
    return HttpResponse(get_token(request))


def with_changed_session(request: Any) -> Any:
    request.session["a"] = 1
    return HttpResponse("x")


@pytest.mark.parametrize("scope", ["user", None])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (with_cookie, "sets a cookie"),
        (with_message, "message"),
        (with_token, "CSRF token"),
        (with_changed_session, "changed the session"),
        (with_header("Cache-Control", "private"), "Cache-Control: private"),
        (with_header("Cache-Control", "max-age=3, No-Store"), "Cache-Control: no-store"),
        (with_header("Cache-Control", "no-cache"), "Cache-Control: no-cache"),
        (with_header("Content-Encoding", "gzip"), "gzip_page"),
        (with_header("Vary", "X-Own"), "name it in vary_on"),
        (with_header("Vary", "Cookie"), "name it in vary_on"),
        (with_header("Vary", "*"), "varies on \\*"),
    ],
)
def test_a_private_answer_is_not_stored(
    site_door: Door, answer: Any, words: str, scope: Any, caplog: Any
) -> None:
    site_door_name = f"answer{len(words)}"
    counted = Counted(answer)
    site_door.serve(**{site_door_name: decorated(site_door, counted, scope=scope)})
    for _ in range(2):
        said = site_door.ask(site_door_name, site_door.client())
    assert outcome(said) == "miss" and counted.calls == 2
    import re

    assert re.search(words, said["Cache-Status"])


def test_what_the_view_varies_on_may_be_stored_once_it_is_in_the_key(site_door: Door) -> None:
    answer = with_header("Vary", "X-Own, Accept-Encoding")
    assert outcome(stored(site_door, answer, vary_on=["x-own"])) == "hit"


def test_a_private_answer_is_its_own_scopes(site_door: Door) -> None:
    counted = Counted(with_header("Cache-Control", "private"))
    site_door.serve(answer=decorated(site_door, counted))
    said = [site_door.ask("answer", headers={"Authorization": name}) for name in "aab"]
    assert [outcome(each) for each in said] == ["miss", "hit", "miss"]
    assert said[1]["Cache-Control"] == "private"


def looks_at_user(request: Any) -> Any:
    return HttpResponse(f"hello {request.user}")


def looks_at_session(request: Any) -> Any:
    return HttpResponse(f"hello {request.session.get('name')}")


def looks_at_cookie(request: Any) -> Any:
    return HttpResponse(f"hello {request.COOKIES['name']}")


@pytest.mark.parametrize("answer", [looks_at_user, looks_at_session, looks_at_cookie])
@pytest.mark.parametrize("scope", ["user", "session", lambda request: None])
def test_without_a_scope_an_answer_for_somebody_is_not_stored(
    settings: Any, answer: Any, scope: Any, caplog: Any
) -> None:
    door = Door(settings, is_async=False)
    client = door.client()
    client.cookies["name"] = "ann"
    said = stored(door, answer, client, scope=scope)
    assert outcome(said) == "miss" and "give the decorator a scope" in said["Cache-Status"]


@pytest.mark.parametrize(
    "look",
    [
        lambda cookies: cookies.get("beta"),
        lambda cookies: "beta" in cookies,
        lambda cookies: [name for name in cookies if name == "beta"],
        lambda cookies: bool(cookies),
        lambda cookies: dict(cookies),
        lambda cookies: list(cookies.keys()),
        lambda cookies: list(cookies.items()),
        lambda cookies: list(cookies.values()),
        lambda cookies: list(reversed(cookies)),
        lambda cookies: cookies.copy(),
        lambda cookies: cookies | {"a": "b"},
        lambda cookies: {"a": "b"} | cookies,
        lambda cookies: {"a": "b", **cookies},
        lambda cookies: cookies == {},
        lambda cookies: cookies != {},
        lambda cookies: repr(cookies),
        lambda cookies: copy.copy(cookies).items(),
        lambda cookies: cookies.pop("beta", "no"),
        lambda cookies: cookies.setdefault("beta", "no"),
    ],
)
@pytest.mark.parametrize("who", [{"beta": "yes"}, {}])
def test_a_visitor_with_a_cookie_and_one_without_share_no_answer_that_depends_on_it(
    site_door: Door, look: Any, who: Any
) -> None:
    client, other = site_door.client(), site_door.client()
    client.cookies.load(who)
    if not who:
        other.cookies["beta"] = "yes"
    counted = Counted(lambda request: HttpResponse(f"{look(request.COOKIES)!r}"))
    site_door.serve(answer=decorated(site_door, counted))
    first, second = site_door.ask("answer", client), site_door.ask("answer", other)
    assert first.said != second.said and counted.calls == 2
    assert "give the decorator a scope" in first["Cache-Status"]


def test_a_page_that_would_show_messages_is_shared_by_those_who_have_none(settings: Any) -> None:
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
    door = Door(settings, is_async=False)

    def answer(request: Any) -> Any:
        return HttpResponse("some" if len(messages.get_messages(request)) else "none")

    assert outcome(stored(door, answer)) == "hit"


def test_an_async_view_without_a_scope_that_asks_for_the_user_is_not_stored(settings: Any) -> None:
    door, calls = Door(settings, is_async=True), []

    @cached_completion
    async def answer(request: Any) -> Any:
        calls.append(1)
        return HttpResponse(f"hello {await request.auser()}")

    door.serve(answer=answer)
    assert [outcome(door.ask("answer")) for _ in range(2)] == ["miss", "miss"]


@pytest.mark.parametrize("answer", [looks_at_session, looks_at_cookie])
def test_a_site_that_says_that_all_share_is_believed(settings: Any, answer: Any) -> None:
    door = Door(settings, is_async=False)
    client = door.client()
    client.cookies["name"] = "ann"
    assert outcome(stored(door, answer, client, scope=None)) == "hit"


def test_a_stream_that_turns_out_to_look_at_the_session_is_not_stored(settings: Any) -> None:
    door = Door(settings, is_async=False)

    def answer(request: Any) -> Any:
        def parts() -> Any:
            yield b"hello "
            yield str(request.session.get("name")).encode()

        return StreamingHttpResponse(parts())

    said = stored(door, answer)
    assert (said.said, outcome(said)) == (b"hello None", "miss")


def test_the_request_is_given_back_as_it_was() -> None:
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    cookies = request.COOKIES
    request.META["CSRF_COOKIE_NEEDS_UPDATE"] = True  # by what stands above the decorator
    watch = Watch(request, strict=True)
    assert not watch.found()
    watch.release()
    assert request.META["CSRF_COOKIE_NEEDS_UPDATE"] is True
    assert request.user.__class__ is AnonymousUser and type(request.user) is AnonymousUser
    assert request.COOKIES is cookies


def test_a_private_answer_is_not_shared_under_single_flight(
    site_door: Door, counted: Callable[[str], int]
) -> None:
    counted_view = Counted()

    def answer(request: Any) -> Any:
        response = HttpResponse(f"answer {counted_view.calls}")
        response.set_cookie("a", "b")
        return response

    counted_view._answer = answer
    site_door.serve(answer=decorated(site_door, counted_view, scope=None))
    site_door.together(10, "answer")
    assert counted_view.calls == 10 and counted("unreadable") == 0
