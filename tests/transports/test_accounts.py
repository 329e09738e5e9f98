"""Whose answers are whose: accounts never share unless they are told to, and doors can."""

from __future__ import annotations

from typing import Any

import openai
import orjson
import pytest
from django.test import override_settings

import llmcache
import llmcache.httpx
import llmcache.httpx2
from llmcache.exceptions import InvalidRequest
from llmcache.transports import accounts, instructions
from llmcache.upstreams import upstreams
from llmcache.upstreams.base import UpstreamRequest
from llmcache.upstreams.fake import FakeUpstream
from tests.servers.provider import CHAT, answer
from tests.transports.conftest import SDK, SECRET, outcome

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def ask(sdk: SDK, client: Any, **more: Any) -> str:
    return outcome(sdk.run(client.chat.completions.with_raw_response.create(**ASK, **more)))


def test_two_keys_two_organizations_and_two_projects_never_share(sdk: SDK) -> None:
    clients = [
        sdk.openai(),
        sdk.openai("sk-another-secret"),
        sdk.openai(organization="o"),
        sdk.openai(organization="p"),
        sdk.openai(project="o"),
    ]
    assert [ask(sdk, client) for client in clients] == ["miss"] * 5
    assert [ask(sdk, client) for client in clients] == ["hit"] * 5


def test_a_key_of_ones_own_stands_for_the_request_and_not_for_the_account(sdk: SDK) -> None:
    named = {"extra_headers": {"X-LLMCache-Key": "front-page"}}
    client = sdk.openai()
    assert [ask(sdk, client, n=n, **named) for n in (1, 2)] == ["miss", "hit"]
    assert ask(sdk, sdk.openai("sk-another-secret"), **named) == "miss"


def test_accounts_of_one_name_share_and_of_another_do_not(sdk: SDK) -> None:
    def client(key: str, account: str) -> Any:
        return sdk.openai(key, http=sdk.http(account=account))

    assert ask(sdk, client("one", "site")) == "miss"
    assert ask(sdk, client("two", "site")) == "hit"
    assert ask(sdk, client("one", "shop")) == "miss"
    assert ask(sdk, sdk.openai("one")) == "miss"


def test_a_load_balancers_cookie_makes_no_account_and_a_sessions_does(sdk: SDK) -> None:
    client = sdk.openai()
    said = ["", "__cf_bm=1", "__cf_bm=2; _cfuvid=3", "session=1", "session=2; __cf_bm=9"]
    made = [ask(sdk, client, extra_headers={"Cookie": cookie}) for cookie in said]
    assert made == ["miss", "hit", "hit", "miss", "miss"]


def test_a_key_in_the_query_is_a_credential_and_is_not_in_the_material() -> None:
    def identity(key: str) -> str:
        return accounts.identity("completion", "https://x/v1", {}, {"key": key}, ...)

    assert identity("a-secret-key") != identity("another-key")
    assert "secret" not in identity("a-secret-key")


def test_another_secret_key_makes_other_accounts() -> None:
    def identity() -> str:
        headers = {"authorization": f"Bearer {SECRET}"}
        return accounts.identity("completion", "https://x/v1", headers, {}, ...)

    first = identity()
    with override_settings(SECRET_KEY="another"):
        assert identity() != first


def test_without_an_account_the_doors_share_their_entries(sdk: SDK) -> None:
    provider = {"OPTIONS": {"base_url": sdk.provider.base_url, "api_key": "k", "organization": "o"}}
    with override_settings(LLMCACHE_PROVIDERS={"default": provider}):
        made = llmcache.completion(**ASK)
        client = sdk.openai(http=sdk.http(account=None), organization="o")
        assert ask(sdk, client) == "hit"
        assert ask(sdk, client, n=1, extra_headers={"X-Persona": "pirate"}) == "miss"
        back = llmcache.completion(**ASK, n=1, extra_headers={"X-Persona": "pirate"})
        assert (made.cache.outcome, back.cache.outcome) == ("miss", "hit")
        assert ask(sdk, sdk.openai(organization="o")) == "miss"


def test_without_an_account_messages_share_their_entries_too(
    sdk: SDK, upstream: FakeUpstream
) -> None:
    params = {**ASK, "max_tokens": 9}
    body = upstream.call(UpstreamRequest(kind="messages", model="m", params=params))
    sdk.provider.script(answer(body))
    client = sdk.anthropic(http=sdk.http(account=None))
    sdk.run(client.messages.create(**params))
    version = sdk.provider.requests[0].headers["anthropic-version"]
    provider = {
        "BACKEND": "llmcache.upstreams.anthropic.Anthropic",
        "OPTIONS": {"base_url": sdk.provider.base_url, "anthropic_version": version},
    }
    with override_settings(LLMCACHE_PROVIDERS={"default": provider}):
        assert llmcache.messages(**params).cache.outcome == "hit"
    other = {**provider, "OPTIONS": {"base_url": sdk.provider.base_url}}
    with override_settings(LLMCACHE_PROVIDERS={"default": other}):
        assert llmcache.messages(**params).cache.outcome == "miss"


def test_the_headers_of_a_request_are_its_controls_and_do_not_travel(sdk: SDK) -> None:
    client = sdk.openai()
    more = {
        "X-LLMCache-TTL": "60",
        "X-LLMCache-Tags": "a, b",
        "X-LLMCache-Namespace": "n",
        "X-LLMCache-Scope": "s",
        "X-LLMCache-Caller": "tests",
        "Cache-Control": "no-cache",
    }
    assert [ask(sdk, client, extra_headers=more) for _ in range(2)] == ["miss", "miss"]
    del more["Cache-Control"]
    assert ask(sdk, client, extra_headers=more) == "hit"
    assert ask(sdk, client) == "miss"
    sent = " ".join(sdk.provider.requests[0].headers)
    assert "llmcache" not in sent and "cache-control" not in sent


@pytest.mark.parametrize(
    ("name", "value", "outcomes"),
    [
        ("X-LLMCache-No-Store", "True", ["miss", "miss"]),
        ("X-LLMCache-No-Store", "0", ["miss", "hit"]),
        ("X-LLMCache-No-Cache", "1", ["miss", "miss"]),
        ("X-LLMCache-No-Cache", "false", ["miss", "hit"]),
        ("X-LLMCache-Bucket", "1", ["miss", "hit"]),
    ],
)
def test_flags_and_numbers_in_headers_are_taken_at_their_word(
    sdk: SDK, name: str, value: str, outcomes: list[str]
) -> None:
    client = sdk.openai()
    assert [ask(sdk, client, extra_headers={name: value}) for _ in range(2)] == outcomes


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("X-LLMCache-TLL", "60", "X-LLMCache-ttl"),
        ("X-LLMCache-TTL", "soon", "number of seconds"),
        ("X-LLMCache-TTL", "nan", "number of seconds"),
        ("X-LLMCache-Tags", "a,,b", "commas"),
        ("X-LLMCache-Semantic", "maybe", "true or false"),
        ("X-LLMCache-Bucket", "0", "from 1 up"),
        ("X-LLMCache-Scope", "", "empty"),
    ],
)
def test_a_wrong_header_is_an_error_that_names_the_fix(
    sdk: SDK, name: str, value: str, told: str
) -> None:
    with pytest.raises(InvalidRequest, match=told):
        ask(sdk, sdk.openai(), extra_headers={name: value})
    assert sdk.provider.requests == []


def test_every_control_has_its_header() -> None:
    from llmcache import controls

    assert set(instructions.CONTROLS) == set(controls._KNOWN)


def test_the_transports_controls_hold_until_a_request_says_otherwise(sdk: SDK) -> None:
    client = sdk.openai(http=sdk.http(cache={"namespace": "n", "ttl": 60}))
    assert ask(sdk, client) == "miss"
    assert ask(sdk, sdk.openai(), extra_headers={"X-LLMCache-Namespace": "n"}) == "hit"
    assert ask(sdk, client, extra_headers={"X-LLMCache-Namespace": "o"}) == "miss"


def test_an_alias_of_the_settings_or_the_cache_in_force_is_used(
    sdk: SDK, redis_server: Any, tmp_path: Any
) -> None:
    aliases = {
        "redis": {
            "BACKEND": "llmcache.backends.redis.RedisBackend",
            "LOCATION": redis_server.url,
            "KEY_PREFIX": str(tmp_path),
        }
    }
    with override_settings(LLMCACHE=aliases):
        client = sdk.openai(http=sdk.http(using="redis"))
        assert [ask(sdk, client) for _ in range(2)] == ["miss", "hit"]
        made = [sdk.openai(http=sdk.http()) for _ in range(2)]
        llmcache.cache = llmcache.Cache(type="local")
        assert [ask(sdk, client) for client in made] == ["miss", "hit"]
        llmcache.cache = None
        assert [ask(sdk, client) for client in (made[0], client)] == ["bypass", "hit"]


def test_nothing_is_told_where_that_is_not_wanted(sdk: SDK) -> None:
    client = sdk.openai(http=sdk.http(expose=False))
    assert [ask(sdk, client) for _ in range(2)] == ["none", "none"]
    assert len(sdk.provider.requests) == 1


def test_an_interceptor_stands_in_for_the_provider(sdk: SDK, upstream: FakeUpstream) -> None:
    asked: list[str] = []

    def stand_in(replaced: Any) -> Any:
        asked.append(replaced.name)
        return upstream

    upstreams.interceptor = stand_in
    try:
        client = sdk.openai()
        completion = sdk.run(client.chat.completions.create(**ASK))
        chunks = sdk.read(
            sdk.run(client.chat.completions.create(**ASK, stream=True, temperature=1))
        )
        upstream.fail, upstream.fail_times = 429, 1
        with pytest.raises(openai.RateLimitError):
            sdk.run(client.chat.completions.create(**ASK, n=2))
    finally:
        upstreams.interceptor = None
    assert completion.choices[0].message.content
    assert chunks[0].choices
    assert sdk.provider.requests == []
    assert asked == ["127.0.0.1"] * 3
    assert [request.params.get("n") for request in upstream.calls] == [None, None, 2]
    assert upstream.calls[0].model == "m"


def test_a_transport_of_ones_own_is_wrapped_and_closed_with_ours(sdk: SDK) -> None:
    library = sdk.library.httpx2
    closed: list[str] = []

    class Own(library.MockTransport):  # type: ignore[misc, name-defined]
        def close(self) -> None:
            closed.append("sync")

        async def aclose(self) -> None:
            closed.append("async")

    own = Own(lambda request: library.Response(200, json=CHAT))
    if sdk.is_async:
        transport = llmcache.httpx2.AsyncCacheTransport(own)
        http = library.AsyncClient(transport=transport)
    else:
        transport = llmcache.httpx2.CacheTransport(own)
        http = library.Client(transport=transport)
    client = sdk.openai(http=http)
    assert [ask(sdk, client) for _ in range(2)] == ["miss", "hit"]
    assert "Own" in repr(transport)
    sdk.run(http.aclose()) if sdk.is_async else http.close()
    assert closed == ["async" if sdk.is_async else "sync"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"cache": {"tll": 5}}, "Did you mean 'ttl'"),
        ({"account": ""}, "account"),
        ({"account": 5}, "account"),
        ({"paths": {"/x": "chat"}}, "kind of call"),
        ({"transport": object()}, "wraps a httpx2.BaseTransport"),
    ],
)
def test_wrong_settings_are_told_when_the_transport_is_made(
    options: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidRequest, match=told):
        llmcache.httpx2.CacheTransport(**options)


def test_a_transport_of_the_other_library_or_kind_is_refused() -> None:
    import httpx
    import httpx2

    with pytest.raises(InvalidRequest, match="named after the library"):
        llmcache.httpx2.CacheTransport(httpx.HTTPTransport())
    with pytest.raises(InvalidRequest, match="Use AsyncCacheTransport"):
        llmcache.httpx2.CacheTransport(httpx2.AsyncHTTPTransport())
    with pytest.raises(InvalidRequest, match="give verify to that one"):
        llmcache.httpx.CacheTransport(httpx.HTTPTransport(), verify=False)


def test_the_clients_have_the_timeouts_and_limits_of_the_sdks(sdk: SDK) -> None:
    assert (
        sdk.openai().timeout == sdk.anthropic().timeout == type(sdk.http().timeout)(600, connect=5)
    )
    timeout = sdk.http().timeout
    assert (timeout.read, timeout.connect) == (600.0, 5.0)


def test_the_material_of_a_key_shows_no_credential(sdk: SDK, monkeypatch: Any) -> None:
    from llmcache import engine

    seen: list[bytes] = []
    original = engine.made_of

    def note(*args: Any) -> Any:
        made = original(*args)
        seen.append(orjson.dumps(made))
        return made

    monkeypatch.setattr(engine, "made_of", note)
    ask(sdk, sdk.openai(organization="o-123", project="p-123"))
    assert len(seen) == 1
    assert SECRET.encode() not in seen[0] and b"o-123" not in seen[0]
