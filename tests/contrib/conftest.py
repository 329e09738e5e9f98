"""Stores for the bridges to packages that ask their models themselves."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from django.test import override_settings

from llmcache import backends, caching
from llmcache.backends.base import BaseBackend
from llmcache.recorder import recorder


@pytest.fixture(params=["locmem", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[BaseBackend]:
    """The store of the alias "bridge": this process's memory, then a real Redis."""
    recorder._start_afresh()
    described: dict[str, Any] = {"LOCATION": "default"}
    if request.param == "redis":
        described = {
            "BACKEND": "llmcache.backends.redis.RedisBackend",
            "LOCATION": request.getfixturevalue("redis_server").url,
            "KEY_PREFIX": uuid.uuid4().hex,
        }
    with override_settings(LLMCACHE={"default": {"LOCATION": "default"}, "bridge": described}):
        yield backends.stores["bridge"]
        caching.reset(setting="LLMCACHE")


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Calls a package's method, or its async twin, which begins with an "a"."""
    with asyncio.Runner() as runner:

        def call(owner: Any, method: str, *args: Any, **kwargs: Any) -> Any:
            if request.param == "sync":
                return getattr(owner, method)(*args, **kwargs)

            async def awaited() -> Any:
                answer: Awaitable[Any] = getattr(owner, f"a{method}")(*args, **kwargs)
                return await answer

            return runner.run(awaited())

        yield call


@pytest.fixture
def cache(store: BaseBackend) -> Any:
    """LangChain's cache over that store."""
    from llmcache.contrib.langchain import DjangoLLMCache

    return DjangoLLMCache("bridge")
