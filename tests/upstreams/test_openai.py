"""The OpenAI-compatible upstream against a real HTTP server, sync and async: requests, answers."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import Any
from urllib.parse import urlsplit

import orjson
import psutil
import pytest
from django.core.exceptions import ImproperlyConfigured

from llmcache.conf import ProviderSettings
from llmcache.exceptions import BadRequest, ServerFailed
from llmcache.upstreams.base import UpstreamRequest
from llmcache.upstreams.openai import OpenAICompatible
from tests.servers.provider import CHAT, Provider, answer
from tests.upstreams.drivers import AsyncDriver, SyncDriver

Driver = SyncDriver | AsyncDriver
ASK = {"messages": [{"role": "user", "content": "Hi"}]}


def upstream(provider: Provider, **options: Any) -> OpenAICompatible:
    options = {"base_url": provider.base_url, "api_key": "sk-secret", "timeout": 5, **options}
    return OpenAICompatible(ProviderSettings(name="default", options=options))


def request(kind: str = "completion", **more: Any) -> UpstreamRequest:
    return UpstreamRequest(kind=kind, model="m", **{"params": ASK, **more})


@pytest.fixture(autouse=True)
def no_key_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


# --- what is sent ---


@pytest.mark.parametrize(
    ("kind", "params", "path"),
    [
        ("completion", ASK, "/v1/chat/completions"),
        ("text_completion", {"prompt": "Hi"}, "/v1/completions"),
        ("responses", {"input": "Hi"}, "/v1/responses"),
        ("embedding", {"input": ["a", "b"]}, "/v1/embeddings"),
    ],
)
def test_every_kind_goes_to_its_path_with_all_parameters(
    driver: Driver, provider: Provider, kind: str, params: dict[str, Any], path: str
) -> None:
    asked = request(kind, params={**params, "temperature": 0.5}, unkeyed={"metadata": {"a": "b"}})
    assert driver.call(upstream(provider), asked) == CHAT
    (seen,) = provider.requests
    assert seen.path == path
    assert seen.json == {**params, "model": "m", "temperature": 0.5, "metadata": {"a": "b"}}
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["authorization"] == "Bearer sk-secret"


def test_extra_body_is_merged_over_the_body(driver: Driver, provider: Provider) -> None:
    params = {**ASK, "top_k": 1, "extra_body": {"top_k": 5, "min_p": 0.1}}
    driver.call(upstream(provider), request(params=params))
    assert provider.requests[0].json == {**ASK, "model": "m", "top_k": 5, "min_p": 0.1}


def test_keys_that_are_numbers_become_text(driver: Driver, provider: Provider) -> None:
    driver.call(upstream(provider), request(params={**ASK, "logit_bias": {50256: -100}}))
    assert provider.requests[0].json["logit_bias"] == {"50256": -100}


def test_a_body_that_is_no_json_is_refused_before_it_is_sent(
    driver: Driver, provider: Provider
) -> None:
    with pytest.raises(BadRequest, match="cannot be written as JSON"):
        driver.call(upstream(provider), request(params={**ASK, "stop": object()}))
    assert provider.requests == []


def test_headers_and_query_of_the_settings_and_of_the_call_are_merged(
    driver: Driver, provider: Provider
) -> None:
    made = upstream(
        provider,
        organization="org-1",
        project="proj-1",
        default_headers={"X-Team": "a", "X-Kept": "yes"},
        default_query={"api-version": "1", "kept": "yes"},
    )
    asked = request(extra_headers={"x-team": "b"}, extra_query={"api-version": "2"})
    driver.call(made, asked)
    (seen,) = provider.requests
    assert seen.headers["openai-organization"] == "org-1"
    assert seen.headers["openai-project"] == "proj-1"
    assert (seen.headers["x-team"], seen.headers["x-kept"]) == ("b", "yes")
    assert seen.query == {"api-version": ["2"], "kept": ["yes"]}


def test_a_header_of_the_call_replaces_the_key_whatever_its_case(
    driver: Driver, provider: Provider
) -> None:
    driver.call(upstream(provider), request(extra_headers={"authorization": "Bearer other"}))
    assert provider.requests[0].headers["authorization"] == "Bearer other"


def test_paths_may_be_replaced(driver: Driver, provider: Provider) -> None:
    driver.call(upstream(provider, paths={"completion": "/chat"}), request())
    assert provider.requests[0].path == "/v1/chat"


# --- the key ---


def test_the_environments_key_is_read_when_the_call_is_made(
    driver: Driver, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = upstream(provider, api_key=None, api_key_env="SOME_KEY")
    for key in ("sk-one", "sk-two\n"):
        monkeypatch.setenv("SOME_KEY", key)
        driver.call(made, request())
    sent = [seen.headers["authorization"] for seen in provider.requests]
    assert sent == ["Bearer sk-one", "Bearer sk-two"]


def test_a_server_that_needs_no_key_gets_none(driver: Driver, provider: Provider) -> None:
    driver.call(upstream(provider, api_key=None), request())
    assert "authorization" not in provider.requests[0].headers


def test_a_key_for_one_call_goes_before_the_settings(driver: Driver, provider: Provider) -> None:
    driver.call(upstream(provider), request(api_key="sk-call"))
    assert provider.requests[0].headers["authorization"] == "Bearer sk-call"


def test_the_providers_key_goes_to_no_other_address(
    driver: Driver, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    for options in ({}, {"api_key": None}):
        made = upstream(provider, **options)
        driver.call(made, request(base_url=f"{provider.base_url}/other"))
        driver.call(made, request(base_url=f"{provider.base_url}/"))
    other, own, *_ = provider.requests
    assert other.path == "/v1/other/chat/completions"
    assert own.path == "/v1/chat/completions"
    sent = [seen.headers.get("authorization") for seen in provider.requests]
    assert sent == [None, "Bearer sk-secret", None, "Bearer sk-environment"]


# --- answers that are none ---


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty answer"),
        (b"[1]", "no JSON object"),
        (b'{"choices": [', "no JSON object"),
        (b"<html>busy</html>", "no JSON object"),
        (b'{"error": {"message": "overloaded", "code": 502}}', "overloaded"),
    ],
)
def test_a_success_without_an_answer_is_the_servers_failure(
    driver: Driver, provider: Provider, body: bytes, says: str
) -> None:
    provider.script(answer(body))
    with pytest.raises(ServerFailed, match=says):
        driver.call(upstream(provider), request())


def test_the_answers_bytes_are_not_touched(provider: Provider) -> None:
    raw = b'{"choices" : [],\n "id":1.0}'
    provider.script(answer(raw))
    assert upstream(provider).call(request()) == raw


# --- connections ---


def test_connections_are_used_again(driver: Driver, provider: Provider) -> None:
    made = upstream(provider)
    for _ in range(3):
        driver.call(made, request())
    assert provider.connections == 1


def test_a_closed_upstream_can_be_used_again(driver: Driver, provider: Provider) -> None:
    made = upstream(provider)
    driver.call(made, request())
    made.close()
    assert driver.call(made, request()) == CHAT


def test_event_loops_that_are_done_leave_no_connections_behind(provider: Provider) -> None:
    made = upstream(provider)

    def connections() -> int:
        gc.collect()
        port = urlsplit(provider.base_url).port
        known = psutil.Process().net_connections("tcp")
        return sum(bool(one.raddr) and one.raddr.port == port for one in known)

    for _ in range(20):
        asyncio.run(made.acall(request()))  # type: ignore[arg-type]
    assert connections() <= 3


def test_a_forked_process_opens_connections_of_its_own(provider: Provider) -> None:
    made = upstream(provider)
    made.call(request())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if orjson.loads(made.call(request())) == CHAT else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert orjson.loads(made.call(request())) == CHAT
    assert provider.connections == 2


# --- settings ---


def test_identity_is_the_address_and_the_account_and_no_credential() -> None:
    def identity(url: str, **options: Any) -> str:
        return OpenAICompatible(
            ProviderSettings(name="x", options={"base_url": url, "api_key": "sk-secret", **options})
        ).identity()

    plain = identity("https://api.example.com/v1")
    assert plain == "openai|https://api.example.com/v1"
    assert identity("https://user:pass@API.example.com/v1/") == plain
    assert identity("https://api.example.com/v2") != plain
    accounts = [{"organization": "a"}, {"project": "a"}, {"organization": "a", "project": "a"}]
    assert len({identity("https://api.example.com/v1", **one) for one in accounts} | {plain}) == 4


def test_settings_that_can_change_an_answer_are_part_of_the_identity() -> None:
    def identity(**options: Any) -> str:
        return OpenAICompatible(ProviderSettings(name="x", options=options)).identity()

    plain = identity()
    changed = [
        {"default_headers": {"X-Beta": "hunter2"}},
        {"default_headers": {"X-Beta": "b"}},
        {"default_query": {"api-version": "1"}},
        {"default_query": {"api-version": "2"}},
        {"paths": {"completion": "/other"}},
    ]
    assert len({identity(**options) for options in changed} | {plain}) == len(changed) + 1
    assert identity(default_headers={"AUTHORIZATION": "Bearer x"}, max_retries=0) == plain
    assert identity(**changed[0]) == identity(default_headers={"x-beta": "hunter2"})
    assert "hunter2" not in identity(**changed[0])


def test_the_address_of_a_single_call_is_its_identity() -> None:
    made = OpenAICompatible(ProviderSettings(name="x", options={"base_url": "http://one/v1"}))
    assert made.identity("http://two/v1/") == "openai|http://two/v1"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"base_ulr": "x"}, "Did you mean 'base_url'"),
        ({"base_url": "api.example.com/v1"}, "http:// or https://"),
        ({"timeout": 0}, "timeout.*above 0"),
        ({"timeout": None}, "timeout.*above 0"),
        ({"connect_timeout": True}, "connect_timeout.*above 0"),
        ({"max_retries": -1}, "max_retries.*from 0 up"),
        ({"max_connections": 0}, "max_connections.*from 1 up"),
    ],
)
def test_wrong_options_are_refused_with_what_is_right(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        OpenAICompatible(ProviderSettings(name="x", options=options))


def test_a_wrong_address_is_shown_without_its_password() -> None:
    options = {"base_url": "ftp://user:hunter2@host/v1"}
    with pytest.raises(ImproperlyConfigured) as caught:
        OpenAICompatible(ProviderSettings(name="x", options=options))
    assert "hunter2" not in str(caught.value)
