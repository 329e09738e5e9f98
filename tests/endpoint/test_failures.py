"""The endpoint while a provider, a store or a caller's body fails, half way through too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from django.test import override_settings

import llmcache
from llmcache.endpoint import holders
from llmcache.exceptions import RateLimited, StreamBroken, UpstreamTimeout
from llmcache.recorder import recorder
from llmcache.upstreams import upstreams
from llmcache.upstreams.base import UpstreamRequest
from llmcache.upstreams.fake import FakeUpstream
from tests.endpoint.conftest import CHAT, Caller
from tests.servers.ports import free_port

CHATS = "v1/chat/completions"
MESSAGE: Any = {**CHAT, "max_tokens": 5}
SECRET = "10.0.0.7 sk-secret"


class Breaks(FakeUpstream):
    """A provider whose streams break off after two chunks."""

    def stream(self, request: UpstreamRequest) -> Iterator[bytes]:
        for number, chunk in enumerate(super().stream(request)):
            if number == 2:
                raise StreamBroken(SECRET)
            yield chunk

    async def astream(self, request: UpstreamRequest) -> AsyncIterator[bytes]:
        number = 0
        async for chunk in super().astream(request):
            if number == 2:
                raise StreamBroken(SECRET)
            number += 1
            yield chunk


@pytest.fixture
def breaks() -> Iterator[Breaks]:
    path = f"{__name__}.Breaks"
    with override_settings(LLMCACHE_PROVIDERS={"default": {"BACKEND": path}}):
        made: Any = upstreams["default"]
        yield made


def ask_openai(server: str, token: str) -> Iterator[Any]:
    client = openai.OpenAI(base_url=f"{server}/llm/v1", api_key=token, max_retries=0)
    yield from client.chat.completions.create(**CHAT, stream=True)


def ask_responses(server: str, token: str) -> Iterator[Any]:
    client = openai.OpenAI(base_url=f"{server}/llm/v1", api_key=token, max_retries=0)
    yield from client.responses.create(model="m", input="Hi", stream=True)


def ask_anthropic(server: str, token: str) -> Iterator[Any]:
    client = anthropic.Anthropic(base_url=f"{server}/llm", api_key=token, max_retries=0)
    yield from client.messages.create(**MESSAGE, stream=True)


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (ask_openai, openai.APIError),
        (ask_responses, openai.APIError),
        (ask_anthropic, anthropic.APIError),
    ],
)
def test_a_stream_that_breaks_off_is_an_error_of_the_sdk_and_no_end(
    server: str, key: Callable[..., str], breaks: Breaks, ask: Any, kind: Any
) -> None:
    token = key()
    for times in (1, 2):
        number = 0
        with pytest.raises(kind, match="could not be reached") as caught:
            for _ in ask(server, token):
                number += 1
        assert number and SECRET not in str(caught.value.body)
        assert breaks.call_count == times  # it was not stored


@pytest.mark.parametrize(("path", "body"), [(CHATS, CHAT), ("v1/messages", MESSAGE)])
def test_a_provider_that_takes_too_long_is_a_504_of_another_type_than_nothing_cached(
    caller: Caller, key: Callable[..., str], upstream: FakeUpstream, path: str, body: Any
) -> None:
    upstream.fail = UpstreamTimeout(SECRET)
    found = caller.post(path, body, key())
    assert found.status_code == 504 and SECRET not in found.content.decode()
    error = found.json()["error"]
    assert "did not answer in time" in error["message"] and error["type"] == "api_error"
    assert "x-should-retry" not in found


@pytest.mark.parametrize(("wait", "said"), [(0.4, "1"), (2.4, "3"), (0.0, "0")])
def test_a_caller_is_told_to_wait_as_long_as_the_provider_says(
    caller: Caller, key: Callable[..., str], upstream: FakeUpstream, wait: float, said: str
) -> None:
    upstream.fail = RateLimited("slowly", status=429, retry_after=wait)
    found = caller.post(CHATS, CHAT, key())
    assert (found.status_code, found["Retry-After"]) == (429, said)


def test_a_ping_tells_that_the_cache_is_off(caller: Caller, key: Callable[..., str]) -> None:
    token = key()
    with llmcache.disable_cache():
        assert caller.get("cache/ping", token).json() == {"status": "off"}


def test_a_ping_tells_that_the_store_fails(caller: Caller, key: Callable[..., str]) -> None:
    token, nobody = key(), f"redis://127.0.0.1:{free_port()}"
    store = {"BACKEND": "llmcache.backends.redis.RedisBackend", "LOCATION": nobody}
    with override_settings(LLMCACHE={"default": store}):
        found = caller.get("cache/ping", token)
    assert found.status_code == 503
    assert found.json()["status"] == "failing" and found.json()["alias"] == "default"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[1]", "JSON object"),
        (b"{", "JSON object"),
        ({"keys": "abc"}, "'keys' must be a list of texts"),
        ({"tags": [1]}, "'tags' must be a list of texts"),
        (b"", "Name 'keys'"),
    ],
)
def test_what_cannot_be_deleted_is_said(
    caller: Caller, key: Callable[..., str], data: Any, words: str
) -> None:
    found = caller.post("cache/delete", data, key(may_evict=True))
    assert found.status_code == 400 and words in found.json()["error"]["message"]


def test_a_key_of_a_namespace_deletes_in_it_alone(caller: Caller, key: Callable[..., str]) -> None:
    everywhere = key("wide", scope="team", allowed_controls=["namespace"])
    narrow = key("narrow", scope="team", namespace="blue", may_evict=True, may_flush=True)
    blue = caller.post(CHATS, CHAT, narrow)["X-LLMCache-Key"]
    red = caller.post(CHATS, {**CHAT, "cache": {"namespace": "red"}}, everywhere)["X-LLMCache-Key"]
    assert blue != red
    recorder.flush()
    assert caller.post("cache/delete", {"keys": [red, blue]}, narrow).json()["evicted"] == 1
    assert caller.post("cache/flush", {}, narrow).json()["evicted"] == 0


def test_a_process_that_has_seen_many_keys_looks_up_again(
    caller: Caller, key: Callable[..., str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(holders, "_MOST", 3)
    token = key()
    for number in range(7):
        assert caller.post(CHATS, CHAT, f"llmc-wrong-{number}").status_code == 401
        assert caller.post(CHATS, CHAT, token).status_code == 200
        assert len(holders._known._holders) <= 3


def test_every_origin_may_ask_where_the_site_says_so(
    caller: Caller, key: Callable[..., str]
) -> None:
    token = key()
    with override_settings(LLMCACHE_CONFIG={"ENDPOINT_ALLOWED_ORIGINS": ["*"]}):
        found = caller.post(CHATS, CHAT, token, headers={"Origin": "https://any.example"})
    assert found["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("length", ["x", "-"])
def test_a_length_that_is_no_number_is_refused(key: Callable[..., str], length: str) -> None:
    caller = Caller(is_async=False)
    found = caller.post(CHATS, CHAT, key(), CONTENT_LENGTH=length)
    assert found.status_code == 400
    caller.close()


def test_a_stream_of_embeddings_is_refused(
    caller: Caller, key: Callable[..., str], upstream: FakeUpstream
) -> None:
    body = {"model": "m", "input": "a", "stream": True}
    found = caller.post("v1/embeddings", body, key())
    assert found.status_code == 400
    assert "kind 'embedding' cannot stream" in found.json()["error"]["message"]
    assert upstream.call_count == 0
