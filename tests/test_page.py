"""The snippets of LiteLLM's caching page, with only the module's name changed.

What a snippet leaves to its reader (a host, a handler's attribute) is filled in; nothing else is.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

import llmcache
from llmcache import acompletion, completion
from llmcache.caching import Cache
from llmcache.integrations.custom_logger import CustomLogger
from llmcache.upstreams.fake import FakeUpstream
from tests.extras import needs
from tests.servers.s3 import S3Server

JOKE = [{"role": "user", "content": "Tell me a joke."}]


@pytest.fixture
def redis_environment(redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url = urlsplit(redis_server.url)
    monkeypatch.setenv("REDIS_HOST", str(url.hostname))
    monkeypatch.setenv("REDIS_PORT", str(url.port))
    monkeypatch.setenv("REDIS_PASSWORD", "")


def tell_a_joke_twice(**kwargs: Any) -> None:
    content = f"Tell me a joke. {random.random()}"
    messages = [{"role": "user", "content": content}]
    response1 = completion(model="gpt-3.5-turbo", messages=messages, **kwargs)
    response2 = completion(model="gpt-3.5-turbo", messages=messages, **kwargs)
    # response1 == response2, response 1 is cached
    assert response1 == response2
    assert response1.id == response2.id
    assert (response1.cache.hit, response2.cache.hit) == (False, True)


def test_redis_cache(redis_server: Any) -> None:
    url = urlsplit(redis_server.url)
    llmcache.cache = Cache(type="redis", host=url.hostname, port=str(url.port), password=None)
    tell_a_joke_twice()


def test_s3_cache(s3_server: S3Server) -> None:
    llmcache.cache = Cache(
        type="s3",
        s3_bucket_name=s3_server.bucket,
        s3_region_name="us-west-2",
        s3_endpoint_url=s3_server.endpoint_url,
        s3_path="some/path",
        s3_use_ssl=False,
        s3_verify=False,
        s3_aws_access_key_id="any",
        s3_aws_secret_access_key="any",
        s3_aws_session_token=None,
        s3_api_version=None,
        s3_config={"s3": {"addressing_style": "path"}},
    )
    tell_a_joke_twice()


def test_in_memory_cache() -> None:
    llmcache.cache = Cache()
    tell_a_joke_twice(caching=True)


@needs("diskcache")
def test_disk_cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    llmcache.cache = Cache(type="disk")
    first = completion(model="gpt-3.5-turbo", messages=JOKE, caching=True)
    # "If you run the code two times, response1 will use the cache from the first run"
    llmcache.cache = Cache(type="disk")
    assert completion(model="gpt-3.5-turbo", messages=JOKE, caching=True) == first
    llmcache.cache = Cache(type="disk", disk_cache_dir=tmp_path / "elsewhere")
    assert completion(model="gpt-3.5-turbo", messages=JOKE).id != first.id
    assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "controls",
    [{"no-cache": True}, {"no-store": True}, {"ttl": 10}, {"s-maxage": 60}],
    ids=lambda controls: next(iter(controls)),
)
def test_controls_of_a_call(controls: dict[str, Any]) -> None:
    response = llmcache.completion(
        model="gpt-3.5-turbo",
        messages=[{"role": "user", "content": "hello who are you"}],
        cache=controls,
    )
    assert response.choices[0].message.content == "You said: hello who are you"


def test_enable_disable_and_update(redis_environment: None) -> None:
    llmcache.enable_cache()
    tell_a_joke_twice()
    llmcache.enable_cache(
        type="redis",
        host=os.environ["REDIS_HOST"],
        port=os.environ["REDIS_PORT"],
        password=os.environ["REDIS_PASSWORD"],
        supported_call_types=[
            "completion",
            "acompletion",
            "embedding",
            "aembedding",
            "atranscription",
            "transcription",
        ],
    )
    tell_a_joke_twice()
    llmcache.update_cache(ttl=60, namespace="updated")
    assert (llmcache.cache.ttl, llmcache.cache.namespace) == (60, "updated")
    tell_a_joke_twice()
    llmcache.disable_cache()
    assert not completion(model="gpt-3.5-turbo", messages=JOKE).cache.hit


def test_custom_cache_keys(redis_environment: None, capsys: Any) -> None:
    # this function takes in *args, **kwargs and returns the key you want to use for caching
    def custom_get_cache_key(*args: Any, **kwargs: Any) -> str:
        # return key to use for your cache:
        key = (
            kwargs.get("model", "")
            + str(kwargs.get("messages", ""))
            + str(kwargs.get("temperature", ""))
            + str(kwargs.get("logit_bias", ""))
        )
        print("key for cache", key)
        return key

    cache = Cache(
        type="redis",
        host=os.environ["REDIS_HOST"],
        port=os.environ["REDIS_PORT"],
        password=os.environ["REDIS_PASSWORD"],
    )
    cache.get_cache_key = custom_get_cache_key
    llmcache.cache = cache
    tell_a_joke_twice()
    text = str(time.time())
    asked = {"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": text}]}
    first = completion(**asked, max_tokens=5)
    assert completion(**asked, max_tokens=9).id == first.id  # the key leaves max_tokens out
    assert not completion(**asked, temperature=0.5).cache.hit
    assert "key for cache gpt-3.5-turbo" in capsys.readouterr().out


# create custom callback for success_events
class MyCustomHandler(CustomLogger):
    def __init__(self) -> None:
        self.states: list[tuple[str, bool]] = []

    async def async_log_success_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        print("On Success")
        print(f"Value of Cache hit: {kwargs['cache_hit']}")
        self.states.append((response_obj.id, kwargs["cache_hit"]))
        assert start_time <= end_time

    def log_success_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self.states.append((response_obj.id, kwargs["cache_hit"]))

    def log_failure_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self.states.append((type(response_obj).__name__, kwargs["cache_hit"]))

    async def async_log_failure_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self.states.append((type(response_obj).__name__, kwargs["cache_hit"]))


def test_async_completion_azure_caching(redis_environment: None) -> None:
    async def run() -> None:
        # set custom callback
        customHandler_caching = MyCustomHandler()  # noqa: N806
        llmcache.callbacks = [customHandler_caching]
        # init cache
        llmcache.cache = Cache(
            type="redis",
            host=os.environ["REDIS_HOST"],
            port=os.environ["REDIS_PORT"],
            password=os.environ["REDIS_PASSWORD"],
        )
        unique_time = time.time()
        message = {"role": "user", "content": f"Hi 👋 - i'm async azure {unique_time}"}
        response1 = await acompletion(model="azure/chatgpt-v-2", messages=[message], caching=True)
        assert customHandler_caching.states == [(response1.id, False)]
        response2 = await acompletion(model="azure/chatgpt-v-2", messages=[message], caching=True)
        assert customHandler_caching.states == [(response1.id, False), (response2.id, True)]

    asyncio.run(run())


class TestCallbacks:
    def test_each_kind_of_call_tells_hit_or_miss(self, door: Any) -> None:
        handler = MyCustomHandler()
        llmcache.callbacks = [handler]
        asked = {"model": "m", "messages": JOKE}
        door.completion(**asked)
        door.completion(**asked)
        door.chunks(door.completion(**asked, stream=True))
        door.completion(**asked, caching=False)
        assert [hit for _, hit in handler.states] == [False, True, True, False]

    def test_a_live_stream_is_told_at_its_end_with_the_whole_answer(self, door: Any) -> None:
        seen: list[Any] = []

        class Handler(CustomLogger):
            def log_success_event(self, kwargs: Any, response_obj: Any, *times: Any) -> None:
                seen.append(response_obj.choices[0].message.content)

            async def async_log_success_event(
                self, kwargs: Any, response_obj: Any, *times: Any
            ) -> None:
                seen.append(response_obj.choices[0].message.content)

        llmcache.callbacks = [Handler()]
        stream = door.completion(model="m", messages=JOKE, stream=True)
        assert seen == []
        door.chunks(stream)
        assert seen == ["You said: Tell me a joke."]

    def test_failures_are_told(self, door: Any, upstream: FakeUpstream) -> None:
        handler = MyCustomHandler()
        llmcache.callbacks = [handler]
        upstream.fail = 503
        with pytest.raises(llmcache.UpstreamError):
            door.completion(model="m", messages=JOKE)
        assert handler.states == [("ServerFailed", False)]

    def test_a_callback_that_fails_breaks_nothing(self, door: Any, counted: Any) -> None:
        class Broken(CustomLogger):
            def log_success_event(self, *args: Any) -> None:
                raise RuntimeError("broken")

            async def async_log_success_event(self, *args: Any) -> None:
                raise RuntimeError("broken")

        llmcache.callbacks = [Broken()]
        assert door.completion(model="m", messages=JOKE).choices
        assert counted("callback_error") == 1

    def test_callbacks_see_no_credentials(self, door: Any) -> None:
        seen: list[Any] = []

        class Handler(MyCustomHandler):
            def log_success_event(self, kwargs: Any, *rest: Any) -> None:
                seen.append(kwargs)

            async def async_log_success_event(self, kwargs: Any, *rest: Any) -> None:
                seen.append(kwargs)

        llmcache.callbacks = [Handler()]
        headers = {"Authorization": "Bearer sk-secret"}
        door.completion(model="m", messages=JOKE, api_key="sk-secret", extra_headers=headers)
        assert "sk-secret" not in repr(seen)


def test_writes_are_collected_and_keep_their_ttl(redis_server: Any) -> None:
    url = urlsplit(redis_server.url)
    asked = {"model": "m", "messages": [{"role": "user", "content": str(random.random())}]}
    llmcache.cache = Cache(
        type="redis", host=url.hostname, port=url.port, redis_flush_size=100, namespace="flush"
    )
    first = completion(**asked, cache={"ttl": 0.8})
    assert completion(**asked).id == first.id  # this process reads its own writes
    llmcache.cache.backend.flush()
    llmcache.cache = Cache(type="redis", host=url.hostname, port=url.port, namespace="flush")
    assert completion(**asked).id == first.id
    time.sleep(0.9)
    assert completion(**asked).id != first.id
