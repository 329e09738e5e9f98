"""The LiteLLM upstream: the real litellm package, talking to a scripted server, sync and async.

litellm wants other versions of its dependencies than this suite does, so it is run in an
environment of its own; elsewhere only the behaviour without the package is tested.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import orjson
import pytest
from django.core.exceptions import ImproperlyConfigured

from llmcache.conf import ProviderSettings
from llmcache.exceptions import (
    AuthenticationFailed,
    BadRequest,
    NotFound,
    PermissionRefused,
    RateLimited,
    ServerFailed,
    StreamBroken,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from llmcache.streams import assemble
from llmcache.upstreams.base import UpstreamRequest
from llmcache.upstreams.fake import FakeUpstream
from llmcache.upstreams.litellm import LiteLLMUpstream
from tests.servers.ports import free_port
from tests.servers.provider import Provider, answer, delta, encode, events, hang, refusal, stream
from tests.upstreams.drivers import AsyncDriver, SyncDriver

Driver = SyncDriver | AsyncDriver
ASK = {"messages": [{"role": "user", "content": "Hi"}]}
SECRET = "sk-very-secret"
real = pytest.mark.skipif(
    find_spec("litellm") is None, reason="litellm is tested in an environment of its own"
)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def upstream(provider: Provider, **options: Any) -> LiteLLMUpstream:
    options = {"base_url": provider.base_url, "api_key": SECRET, "timeout": 10, **options}
    return LiteLLMUpstream(ProviderSettings(name="lite", options=options))


def request(kind: str = "completion", **more: Any) -> UpstreamRequest:
    return UpstreamRequest(kind=kind, model="openai/m", **{"params": ASK, **more})


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    monkeypatch.setattr("llmcache.packages.find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match=r'pip install "django-llmcache\[litellm\]"'):
        LiteLLMUpstream(ProviderSettings(name="lite"))


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ImproperlyConfigured, match="Did you mean 'base_url'"):
        LiteLLMUpstream(ProviderSettings(name="lite", options={"base_ulr": "x"}))


@real
def test_a_chat_goes_through_with_its_parameters_and_nothing_of_ours(
    driver: Driver, provider: Provider
) -> None:
    got = driver.call(upstream(provider), request(params={**ASK, "temperature": 0.5}))
    assert got["choices"][0]["message"]["content"] == "Hello!"
    assert got["usage"]["total_tokens"] == 2
    (seen,) = provider.requests
    assert seen.path == "/v1/chat/completions"
    assert seen.json == {**ASK, "model": "m", "temperature": 0.5}
    assert seen.headers["authorization"] == f"Bearer {SECRET}"


@real
@pytest.mark.parametrize(
    ("kind", "params", "reply"),
    [
        (
            "text_completion",
            {"prompt": "Hi"},
            {
                "id": "c",
                "object": "text_completion",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "text": "Hello", "finish_reason": "stop"}],
            },
        ),
        (
            "embedding",
            {"input": ["Hi"]},
            {
                "object": "list",
                "model": "m",
                "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
                "usage": {"prompt_tokens": 1, "total_tokens": 1},
            },
        ),
        ("transcription", {"file": b"RIFF"}, {"text": "Hello"}),
    ],
)
def test_the_other_kinds_go_through(
    driver: Driver, provider: Provider, kind: str, params: dict[str, Any], reply: dict[str, Any]
) -> None:
    provider.script(answer(reply))
    got = driver.call(upstream(provider), request(kind, params=params))
    if kind == "text_completion":
        assert got["choices"][0]["text"] == "Hello"
    elif kind == "embedding":
        assert got["data"][0]["embedding"] == [0.5, 0.25]
    else:
        assert got["text"] == "Hello"
        assert b"RIFF" in provider.requests[0].body


@real
def test_responses_go_through_whole_and_streamed(driver: Driver, provider: Provider) -> None:
    fake = FakeUpstream(ProviderSettings(name="fake", options={"responses": {"Hi": "Hello"}}))
    asked = UpstreamRequest(kind="responses", model="openai/gpt-4o", params={"input": "Hi"})
    provider.script(answer(fake.call(asked)))
    got = driver.call(upstream(provider), asked)
    assert got["output"][0]["content"][0]["text"] == "Hello"
    provider.script(
        stream([encode(chunk, orjson.loads(chunk)["type"]) for chunk in fake.stream(asked)])
    )
    whole = orjson.loads(assemble("responses", driver.stream(upstream(provider), asked)))
    assert whole["output"][0]["content"][0]["text"] == "Hello"
    assert provider.requests[1].json["stream"] is True


@real
def test_litellms_own_cache_is_neither_read_nor_written(
    driver: Driver, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    import litellm

    monkeypatch.setattr(litellm, "cache", litellm.Cache(type="local"))
    for _ in range(2):
        driver.call(upstream(provider), request())
    assert len(provider.requests) == 2
    assert litellm.cache.cache.cache_dict == {}


@real
def test_a_stream_comes_in_openais_shape(driver: Driver, provider: Provider) -> None:
    hello = [delta("Hel"), delta("lo"), delta(finish_reason="stop")]
    provider.script(stream(events(*hello)))
    chunks = driver.stream(upstream(provider), request())
    whole = orjson.loads(assemble("completion", chunks))
    assert whole["choices"][0]["message"]["content"] == "Hello"
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"]["completion_tokens"] >= 1
    last = orjson.loads(chunks[-1])
    assert last["usage"]
    assert last["choices"] == []


@real
def test_a_stream_whose_connection_breaks_is_broken(driver: Driver, provider: Provider) -> None:
    provider.script(stream(events(delta("Hel"), done=False), end="broken"))
    with pytest.raises(StreamBroken):
        driver.stream(upstream(provider), request())


@real
def test_closing_a_stream_early_closes_its_connection(driver: Driver, provider: Provider) -> None:
    provider.script(stream(events(*[delta("word ")] * 2000), pause=0.01))
    assert len(driver.stream(upstream(provider), request(), most=2)) == 2
    assert provider.disconnected.wait(10)


@real
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, AuthenticationFailed),
        (403, PermissionRefused),
        (404, NotFound),
        (429, RateLimited),
        (500, ServerFailed),
        (503, ServerFailed),
    ],
)
def test_its_errors_become_ours(
    driver: Driver, provider: Provider, status: int, kind: type[UpstreamError]
) -> None:
    provider.script(refusal(status))
    with pytest.raises(UpstreamError) as caught:
        driver.call(upstream(provider, max_retries=0), request())
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert f"refused with {status}" in caught.value.message
    assert len(provider.requests) == 1


@real
def test_a_passing_failure_is_tried_again(driver: Driver, provider: Provider) -> None:
    provider.script(refusal(503), answer())
    got = driver.call(upstream(provider), request())
    assert got["choices"][0]["message"]["content"] == "Hello!"
    assert len(provider.requests) == 2


@real
def test_silence_and_absence(driver: Driver, provider: Provider) -> None:
    provider.script(hang)
    with pytest.raises(UpstreamTimeout):
        driver.call(upstream(provider, timeout=0.3, max_retries=0), request())
    away = upstream(provider, base_url=f"http://127.0.0.1:{free_port()}/v1", max_retries=0)
    with pytest.raises(UpstreamUnreachable) as caught:
        driver.call(away, request())
    assert type(caught.value) is UpstreamUnreachable


@real
def test_a_key_that_the_provider_echoes_is_hidden(driver: Driver, provider: Provider) -> None:
    import traceback

    provider.script(answer({"error": {"message": f"wrong key {SECRET}"}}, 401))
    with pytest.raises(AuthenticationFailed) as caught:
        driver.call(upstream(provider), request())
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert "wrong key [hidden]" in caught.value.message


@real
def test_the_providers_key_goes_to_no_other_address(driver: Driver, provider: Provider) -> None:
    driver.call(upstream(provider), request(base_url=provider.base_url, api_key="sk-call"))
    assert provider.requests[0].headers["authorization"] == "Bearer sk-call"
    with pytest.raises(UpstreamError):
        driver.call(upstream(provider), request(base_url=f"{provider.base_url}/other"))
    assert all(SECRET not in str(seen.headers) for seen in provider.requests)


@real
def test_identity_is_the_address_and_no_credential(provider: Provider) -> None:
    made = upstream(provider, base_url="http://user:pass@HOST/v1/")
    assert made.identity() == "litellm|http://host/v1"
    assert made.identity("http://other/v1") == "litellm|http://other/v1"
    assert upstream(provider, base_url=None).identity() == "litellm|"


@real
def test_arguments_of_the_settings_are_part_of_the_identity(provider: Provider) -> None:
    def identity(**arguments: Any) -> str:
        return upstream(provider, arguments=arguments).identity()

    cool = identity(temperature=0, api_version="hunter2")
    assert cool == identity(api_version="hunter2", temperature=0)
    assert len({cool, identity(temperature=1, api_version="hunter2"), identity()}) == 3
    assert identity(temperature=0) != identity()
    assert "hunter2" not in cool
    # What has no JSON form differs from process to process, so only its kind counts.
    assert identity(azure_ad_token_provider=lambda: "a") == identity(
        azure_ad_token_provider=lambda: "b"
    )
