"""Whose a cached view's answer is, and that nobody else ever gets it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncRequestFactory, RequestFactory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcache import InvalidRequest
from llmcache.caching import for_alias
from llmcache.decorators import cached_completion
from tests.decorators.doors import Counted, Door, decorated

pytestmark = pytest.mark.django_db(transaction=True)


def test_each_user_has_answers_of_their_own(site_door: Door) -> None:
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    said = {}
    for name in ("ann", "bob"):
        client = site_door.client()
        client.force_login(User.objects.create_user(name))
        said[name] = [site_door.ask("answer", client).content for _ in range(2)]
    assert said == {"ann": [b"answer 1"] * 2, "bob": [b"answer 2"] * 2}
    assert site_door.ask("answer").content == b"answer 3"


def test_a_users_answer_survives_a_new_session(site_door: Door) -> None:
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    user = User.objects.create_user("ann")
    for _ in range(2):
        client = site_door.client()
        client.force_login(user)
        assert site_door.ask("answer", client).content == b"answer 1"


@pytest.mark.parametrize("scope", ["user", "session"])
def test_each_session_has_answers_of_its_own(site_door: Door, scope: str) -> None:
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted, scope=scope))
    said = []
    for name in "aabb":
        client = site_door.client()
        client.cookies["sessionid"] = name * 32
        said.append(site_door.ask("answer", client).content)
    assert said == [b"answer 1"] * 2 + [b"answer 2"] * 2


@pytest.mark.parametrize("header", ["Authorization", "X-Api-Key"])
def test_each_credential_has_answers_of_its_own(site_door: Door, header: str) -> None:
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    said = [site_door.ask("answer", headers={header: name}) for name in "aab"]
    assert [each.content for each in said] == [b"answer 1"] * 2 + [b"answer 2"]
    assert said[0]["Cache-Control"] == "private" and header in said[0]["Vary"]


def by_tenant(request: Any) -> str | None:
    return request.headers.get("X-Tenant")


@pytest.mark.parametrize("scope", [by_tenant, f"{__name__}.by_tenant"])
def test_a_function_says_whose_the_answers_are(site_door: Door, scope: Any) -> None:
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted, scope=scope))
    said = [site_door.ask("answer", headers={"X-Tenant": name}) for name in "aab"]
    assert [each.content for each in said] == [b"answer 1"] * 2 + [b"answer 2"]
    assert said[0]["Cache-Control"] == "private"


def test_a_scope_function_of_an_async_view_may_ask_the_database(settings: Any) -> None:
    door, counted = Door(settings, is_async=True), Counted()
    door.serve(
        answer=decorated(door, counted, scope=lambda request: f"users:{User.objects.count()}")
    )
    said = [door.ask("answer").content for _ in range(2)]
    User.objects.create_user("ann")
    assert [*said, door.ask("answer").content] == [b"answer 1", b"answer 1", b"answer 2"]


def test_errors_of_the_sites_own_scope_function_are_loud(site_door: Door) -> None:
    def broken(request: Any) -> str:
        raise ZeroDivisionError("whose?")

    site_door.serve(answer=decorated(site_door, Counted(), scope=broken))
    with pytest.raises(ZeroDivisionError, match="whose"):
        site_door.ask("answer")


def test_a_scope_that_is_no_text_is_an_error(site_door: Door) -> None:
    site_door.serve(answer=decorated(site_door, Counted(), scope=lambda request: 3))
    with pytest.raises(InvalidRequest, match="must return a string"):
        site_door.ask("answer")


def test_the_configured_scope_still_holds_beside_the_decorators(
    site_door: Door, settings: Any
) -> None:
    tenant = "a"
    settings.LLMCACHE_CONFIG = {"SCOPE": lambda: tenant}
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    token = {"headers": {"Authorization": "t"}}
    assert site_door.ask("answer", **token).content == b"answer 1"
    tenant = "b"
    assert site_door.ask("answer", **token).content == b"answer 2"
    assert site_door.ask("answer", headers={"Authorization": "u"}).content == b"answer 3"


def test_request_scope_of_the_configuration_holds_where_the_decorator_says_nothing(
    site_door: Door, settings: Any
) -> None:
    settings.LLMCACHE_CONFIG = {"REQUEST_SCOPE": None}
    counted = Counted()
    site_door.serve(answer=decorated(site_door, counted))
    said = [site_door.ask("answer", headers={"Authorization": name}) for name in "ab"]
    assert [each.content for each in said] == [b"answer 1"] * 2
    assert "Vary" not in said[0] and "Cache-Control" not in said[0]


# --- no sequence of requests ---

VISITORS = ("ann", "bob")
WAYS = ("user", "cookie", "token", "own cookie")
request_of = st.tuples(
    st.sampled_from(VISITORS), st.sampled_from(WAYS), st.sampled_from(["get", "post", "head"])
)
VIEW = st.sampled_from(["plain", "private", "vary", "stream"])


class _User:
    is_authenticated = True

    def __init__(self, name: str) -> None:
        self.pk = name

    def __str__(self) -> str:
        return self.pk


class _Session(dict[str, Any]):
    """As much of a session as views and decorators use."""

    accessed = modified = False
    session_key = None

    def get(self, *args: Any) -> Any:
        self.accessed = True
        return super().get(*args)


def asked(who: str, way: str, method: str, factory: Any) -> Any:
    request = getattr(factory, method)("/answer")
    request.user = _User(who) if way == "user" else AnonymousUser()
    request.session = _Session()
    if way == "cookie":
        request.COOKIES["sessionid"] = who
        request.session["name"] = who
    elif way == "own cookie":
        request.COOKIES["name"] = who
    elif way == "token":
        request.META["HTTP_AUTHORIZATION"] = who
    return request


def greets(kind: str) -> Any:
    def view(request: Any) -> Any:
        user = request.user
        name = str(user) if user.is_authenticated else request.session.get("name")
        name = name or request.headers.get("Authorization") or request.COOKIES.get("name")
        if kind == "stream":
            return StreamingHttpResponse(iter([str(name).encode()]))
        response = HttpResponse(str(name))
        if kind == "private":
            response["Cache-Control"] = "private"
        if kind == "vary":
            response["Vary"] = "Cookie"
        return response

    return view


@given(
    requests=st.lists(request_of, min_size=2, max_size=12),
    kind=VIEW,
    scope=st.sampled_from(["user", "session", by_tenant]),
    is_async=st.booleans(),
)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_nobody_gets_an_answer_that_was_made_for_somebody_else(
    requests: Any, kind: str, scope: Any, is_async: bool
) -> None:
    for_alias("default").backend.clear()  # type: ignore[union-attr]
    if scope == "session":
        requests = [each for each in requests if each[1] in ("cookie", "own cookie")]
    view = greets(kind)
    if is_async:

        async def aview(request: Any) -> Any:
            return view(request)

        mark = cached_completion(scope=scope)(aview)
    else:
        mark = cached_completion(scope=scope)(view)
    factory = AsyncRequestFactory() if is_async else RequestFactory()

    async def run(request: Any) -> Any:
        return await mark(request)

    for who, way, method in requests:
        request = asked(who, way, method, factory)
        response = asyncio.run(run(request)) if is_async else mark(request)
        said = response.getvalue() if not response.streaming else b"".join(response)
        if method != "head":
            assert said == who.encode()
