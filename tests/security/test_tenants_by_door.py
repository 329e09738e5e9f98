"""As `test_tenants`, for the doors that tell for themselves whose a call is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory, override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llmcache
import llmcache.httpx
from llmcache.decorators import cached, cached_completion
from llmcache.models import VirtualKey
from llmcache.upstreams import upstreams
from tests.endpoint.conftest import CHAT, Caller, endpoint  # noqa: F401

SCOPES = ("ann", "bob", "cleo")
asking = [""]
"""Who asks just now; a runner of event loops keeps context variables to itself."""
scope_now = [""]
"""What SCOPE returns to the door that needs it."""
Ask = Callable[[str, str], str]
"""Of a scope and a question, the answer."""


def answer(*args: object) -> str:
    """What is made anew names whoever has asked."""
    return f"made for {asking[0]}"


def function(request: pytest.FixtureRequest, is_async: bool) -> Ask:
    """A function whose callers are told apart by SCOPE."""
    if is_async:

        @cached
        async def written(question: str) -> str:
            return answer()

        return lambda scope, question: asyncio.run(written(question))

    @cached
    def said(question: str) -> str:
        return answer()

    return lambda scope, question: said(question)


def view(request: pytest.FixtureRequest, is_async: bool) -> Ask:
    """A view whose visitors are told apart by a function of the request."""
    if is_async:

        @cached_completion(scope=lambda request: request.headers["X-Tenant"])
        async def page(request: HttpRequest) -> HttpResponse:
            return HttpResponse(answer())

        make = AsyncRequestFactory()
        return lambda scope, question: asyncio.run(
            page(make.get("/", {"q": question}, headers={"X-Tenant": scope}))
        ).content.decode()

    @cached_completion(scope=lambda request: request.headers["X-Tenant"])
    def sheet(request: HttpRequest) -> HttpResponse:
        return HttpResponse(answer())

    return lambda scope, question: sheet(
        RequestFactory().get("/", {"q": question}, headers={"X-Tenant": scope})
    ).content.decode()


def transport(request: pytest.FixtureRequest, is_async: bool) -> Ask:
    """An SDK's transport, whose accounts are told apart by their credentials."""

    def handle(sent: httpx.Request) -> httpx.Response:
        said = {"role": "assistant", "content": answer()}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        return httpx.Response(200, json={"id": "1", "model": "m", "choices": [choice]})

    def post(scope: str, question: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": question}]
        return {
            "url": "https://api.example.com/v1/chat/completions",
            "headers": {"Authorization": f"Bearer sk-{scope}"},
            "json": {"model": "m", "messages": messages},
        }

    inner = httpx.MockTransport(handle)
    if is_async:

        async def ask(scope: str, question: str) -> str:
            async with llmcache.httpx.async_client(transport=inner) as client:
                return (await client.post(**post(scope, question))).text

        return lambda scope, question: asyncio.run(ask(scope, question))
    client = llmcache.httpx.client(transport=inner)
    return lambda scope, question: client.post(**post(scope, question)).text


def endpoint_key(request: pytest.FixtureRequest, is_async: bool) -> Ask:
    """The endpoint, whose callers are told apart by their keys."""
    request.getfixturevalue("endpoint")
    caller = Caller(is_async)
    tokens = {}
    for scope in SCOPES:
        key = VirtualKey(name=scope, scope=scope)
        tokens[scope] = key.renew()
        key.save()

    def ask(scope: str, question: str) -> str:
        fake: Any = upstreams["default"]
        fake.responses = answer
        body = {**CHAT, "messages": [{"role": "user", "content": question}]}
        text: str = caller.send("POST", "v1/chat/completions", body, tokens[scope]).content.decode()
        return text

    return ask


DOORS = (function, view, transport, endpoint_key)


@pytest.fixture(params=DOORS, ids=lambda door: door.__name__)
def ask(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[Any]:
    """Each door, made sync or async."""
    config = {"SCOPE": lambda: scope_now[0]} if request.param is function else {}
    with override_settings(LLMCACHE_CONFIG=config):
        yield lambda is_async: request.param(request, is_async)


STEPS = st.one_of(
    st.tuples(st.sampled_from(SCOPES), st.sampled_from(["one", "two"])),
    st.sampled_from(SCOPES).map(lambda scope: {"scope": scope}),
)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_no_sequence_of_calls_gives_a_caller_what_is_anothers(ask: Any, is_async: bool) -> None:
    made: Ask = ask(is_async)
    hits = 0

    def step(scope: str, question: str) -> str:
        asking[0] = scope_now[0] = scope
        return made(scope, question)

    @settings(
        max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(steps=st.lists(STEPS, min_size=4, max_size=12))
    def play(steps: list[Any]) -> None:
        for one in steps:
            if isinstance(one, dict):
                llmcache.evict(**one)
                continue
            said = step(*one)
            assert f"made for {one[0]}" in said
            assert not any(f"made for {other}" in said for other in SCOPES if other != one[0])

    play()
    for scope in SCOPES:
        step(scope, "kept")
        asking[0] = "nobody"  # who asks again has the stored answer
        hits += f"made for {scope}" in made(scope, "kept")
    assert hits == len(SCOPES)
