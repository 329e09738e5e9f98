"""Which clients share entries, and what of their credentials can be found anywhere: nothing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from django.test import override_settings

import llmcache
from llmcache.models import Call, Entry
from llmcache.recorder import recorder
from tests.servers.provider import Provider, answer
from tests.transports.conftest import KEY, Sync

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def test_two_accounts_never_share(sdk: Sync, provider: Provider) -> None:
    for key in ("sk-one", "sk-two", "sk-one"):
        sdk.run(sdk.openai(provider, key=key).chat.completions.create, **ASKED)
    assert len(provider.requests) == 2


def test_organizations_of_one_key_never_share(sdk: Sync, provider: Provider) -> None:
    create = sdk.openai(provider).chat.completions.create
    for organization in ("one", "two", "one"):
        sdk.run(create, **ASKED, extra_headers={"OpenAI-Organization": organization})
    assert len(provider.requests) == 2


def test_accounts_of_one_name_share(sdk: Sync, provider: Provider) -> None:
    for key in ("sk-old", "sk-new"):
        create = sdk.openai(provider, key=key, account="team").chat.completions.create
        sdk.run(create, **ASKED)
    sdk.run(sdk.openai(provider, account="others").chat.completions.create, **ASKED)
    assert len(provider.requests) == 2


@pytest.mark.parametrize("first", ["sdk", "function"])
def test_without_an_account_entries_are_shared_with_our_own_functions(
    sdk: Sync, provider: Provider, first: str
) -> None:
    options = {"base_url": provider.base_url, "api_key": "other"}
    with override_settings(LLMCACHE_PROVIDERS={"default": {"OPTIONS": options}}):
        create = sdk.openai(provider, account=None).chat.completions.create
        asked = {**ASKED, "temperature": 1}
        if first == "sdk":
            sdk.run(create, **asked)
            assert llmcache.completion(**asked).cache.outcome == "hit"
        else:
            llmcache.completion(**asked)
            assert sdk.run(create, **asked).choices[0].message.content == "Hello!"
    assert len(provider.requests) == 1


def test_providers_at_other_addresses_never_share(sdk: Sync, provider: Provider) -> None:
    client = sdk.openai(provider)
    sdk.run(client.chat.completions.create, **ASKED)
    other = client.with_options(base_url=provider.base_url.replace("/v1", "/other/v1"))
    sdk.run(other.chat.completions.create, **ASKED)
    assert len(provider.requests) == 2


@pytest.mark.django_db
def test_nothing_of_a_credential_is_kept_anywhere(sdk: Sync, provider: Provider) -> None:
    with override_settings(LLMCACHE_CONFIG={"STORE_PROMPTS": "full"}):
        create = sdk.openai(provider).chat.completions.with_raw_response.create
        hit = [sdk.run(create, **ASKED, extra_query={"q": "1"}) for _ in range(2)][1]
        recorder.flush()
    rows = [*Entry.objects.values(), *Call.objects.values()]
    assert len(rows) == 3
    assert KEY not in str(rows)
    assert KEY not in str(dict(hit.headers))
    assert "account " in orjson.loads(Entry.objects.get().material)["provider"]


def test_headers_say_what_the_cache_is_to_do_and_go_no_further(
    sdk: Sync, provider: Provider
) -> None:
    create = sdk.openai(provider).chat.completions.create
    scope = {"X-LLMCache-Scope": "tenant-1", "X-LLMCache-Tags": "a, b"}
    sdk.run(create, **ASKED, extra_headers=scope)
    sdk.run(create, **ASKED, extra_headers={"X-LLMCache-Scope": "tenant-2"})
    sdk.run(create, **ASKED, extra_headers=scope)
    assert len(provider.requests) == 2
    assert not [name for name in provider.requests[0].headers if name.startswith("x-llmcache")]


def test_cache_control_of_a_request_is_followed(sdk: Sync, provider: Provider) -> None:
    create = sdk.openai(provider).chat.completions.create
    sdk.run(create, **ASKED, extra_headers={"Cache-Control": "no-store"})
    sdk.run(create, **ASKED)
    sdk.run(create, **ASKED, extra_headers={"Cache-Control": "no-cache"})
    sdk.run(create, **ASKED, extra_headers={"Cache-Control": "max-age=0"})
    assert len(provider.requests) == 4
    sdk.run(create, **ASKED, extra_headers={"Cache-Control": "max-age=60"})
    assert len(provider.requests) == 4


def test_the_transports_own_controls_hold_for_every_call(sdk: Sync, provider: Provider) -> None:
    create = sdk.openai(provider, cache={"no-store": True}).chat.completions.create
    sdk.run(create, **ASKED)
    sdk.run(create, **ASKED)
    assert len(provider.requests) == 2


def test_an_alias_can_be_named(sdk: Sync, provider: Provider, tmp_path: Any) -> None:
    disk = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(tmp_path)}
    with override_settings(LLMCACHE={"other": disk}):
        create = sdk.openai(provider, using="other").chat.completions.with_raw_response.create
        found = [sdk.run(create, **ASKED) for _ in range(2)]
    assert found[1].headers["x-llmcache-layer"] == "other"


def test_with_the_cache_off_calls_go_through(sdk: Sync, provider: Provider) -> None:
    provider.script(answer({"object": "chat.completion", "choices": [], "odd": 1}))
    create = sdk.openai(provider).chat.completions.with_raw_response.create
    with llmcache.disable_cache():
        found = [sdk.run(create, **ASKED) for _ in range(2)]
    assert [one.headers["x-llmcache-outcome"] for one in found] == ["bypass"] * 2
    assert len(provider.requests) == 2
