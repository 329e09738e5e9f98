"""No visitor gets an answer that was made for another."""

from __future__ import annotations

import random
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.http import HttpResponse
from django.test import override_settings

from tests.views import site
from tests.views.conftest import Visitor
from tests.views.site import behaviour, visits


def greet(request: Any) -> HttpResponse:
    """An answer that depends on who asks."""
    return HttpResponse(f"for {request.headers.get('X-Me')}")


@pytest.mark.parametrize(
    "what", ["cookie", "session", "token", "message", "file", "forbidden"], ids=str
)
@pytest.mark.django_db(transaction=True)
def test_an_answer_that_is_one_visitors_is_not_stored(visitor: Visitor, what: str) -> None:
    behaviour["do"] = getattr(site, what)
    for _ in range(2):
        found = visitor.another().get("shared")
        assert found.get("X-LLMCache-Outcome", "miss") == "miss"
    assert len(visits) == 2


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("Cache-Control", "no-store", False),
        ("Cache-Control", "private", False),
        ("Cache-Control", "No-Cache", False),
        ("Cache-Control", "public, max-age=60", True),
        ("Vary", "Cookie", False),
        ("Vary", "Accept-Encoding", True),
        ("Vary", "X-Other", False),
        ("Vary", "*", False),
    ],
)
def test_what_the_view_says_of_its_answer_holds(
    visitor: Visitor, name: str, value: str, stored: bool
) -> None:
    behaviour["do"] = site.header(name, value)
    visitor.get("shared")
    assert visitor.get("shared").content == b"x"
    assert len(visits) == (1 if stored else 2)


def test_the_reason_names_what_would_help(visitor: Visitor) -> None:
    behaviour["do"] = site.header("Vary", "X-Other")
    assert "name it in vary_on" in visitor.get("shared")["Cache-Status"]


@pytest.mark.parametrize("status", [201, 302, 404, 500])
def test_only_plain_success_is_stored(visitor: Visitor, status: int) -> None:
    behaviour["do"] = lambda request: HttpResponse("x", status=status)
    for _ in range(2):
        assert visitor.get("shared").status_code == status
    assert len(visits) == 2


@pytest.mark.django_db(transaction=True)
def test_each_user_has_answers_of_its_own(visitor: Visitor) -> None:
    behaviour["do"] = greet
    people = {name: visitor.another() for name in ("ann", "bob")}
    for name, person in people.items():
        person.log_in(get_user_model().objects.create_user(name))
    for _ in range(2):
        for name, person in people.items():
            found = person.get("any", X_Me=name)
            assert found.content == f"for {name}".encode()
            assert found["Cache-Control"] == "private"
            assert "Cookie" in found["Vary"]
    assert len(visits) == 2


def test_sessions_and_credentials_of_visitors_keep_them_apart(visitor: Visitor) -> None:
    behaviour["do"] = greet
    signs = [
        {"Cookie": "sessionid=one"},
        {"Cookie": "sessionid=two"},
        {"Authorization": "Bearer one"},
        {"Authorization": "Bearer two"},
        {},
    ]
    for sign in signs:
        who = str(sign)
        for _ in range(2):
            # The session's cookie names nothing that exists: the header alone must be enough.
            found = visitor.another().get("any", X_Me=who, **sign)
            assert found.content == f"for {who}".encode()
    assert len(visits) == len(signs)


def test_visitors_without_any_sign_share(visitor: Visitor) -> None:
    behaviour["do"] = greet
    for _ in range(2):
        found = visitor.another().get("any")
    assert found["X-LLMCache-Outcome"] == "hit"
    assert "Cache-Control" not in found


def test_a_function_of_the_request_says_whose_answer_it_is(visitor: Visitor) -> None:
    behaviour["do"] = lambda request: HttpResponse(request.headers["X-Tenant"])
    for tenant in ("a", "b", "a"):
        assert visitor.get("tenant", X_Tenant=tenant).content == tenant.encode()
    assert len(visits) == 2


def test_the_settings_scope_counts_beside_the_requests(visitor: Visitor) -> None:
    behaviour["do"] = lambda request: HttpResponse(behaviour["word"])
    for word in ("one", "two"):
        behaviour["word"] = word
        with override_settings(LLMCACHE_CONFIG={"SCOPE": lambda word=word: word}):
            assert visitor.get("tenant", X_Tenant="t").content == word.encode()


def test_a_scope_that_fails_is_loud(visitor: Visitor) -> None:
    def broken(request: Any) -> str:
        raise LookupError("no tenant")

    behaviour["do"] = greet
    with (
        override_settings(LLMCACHE_CONFIG={"REQUEST_SCOPE": broken}),
        pytest.raises(LookupError, match="no tenant"),
    ):
        visitor.get("any")
    assert visits == []


def test_no_sequence_of_visits_gives_one_tenant_the_answer_of_another(visitor: Visitor) -> None:
    behaviour["do"] = lambda request: HttpResponse(f"{request.headers['X-Tenant']}", status=200)
    chance = random.Random(7)
    for _ in range(150):
        tenant = chance.choice(["a", "b", "a b", '["a"', "c"])
        said = chance.choice(["", "no-cache", "max-age=0", "only-if-cached"])
        with override_settings(LLMCACHE_CONFIG={"CLIENT_CONTROLS": ["no-cache", "max-age"]}):
            found = visitor.get("tenant", X_Tenant=tenant, Cache_Control=said)
        assert found.content == tenant.encode()
