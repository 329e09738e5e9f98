"""The real SDKs, sync and async, in front of a scripted provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import openai
import pytest

import llmcache.httpx2 as transports
from tests.servers.provider import Provider

KEY = "sk-secret-key-of-a-test"


class Sync:
    """Sync SDK clients."""

    is_async = False

    def openai(self, provider: Provider, key: str = KEY, retries: int = 0, **options: Any) -> Any:
        http = transports.client(**options)
        return openai.OpenAI(
            base_url=provider.base_url, api_key=key, max_retries=retries, http_client=http
        )

    def anthropic(self, provider: Provider, key: str = KEY, **options: Any) -> Any:
        return anthropic.Anthropic(
            base_url=provider.base_url.removesuffix("/v1"),
            api_key=key,
            max_retries=0,
            http_client=transports.client(**options),
        )

    def run(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """What a method of the SDK gives."""
        return function(**arguments)

    def items(self, stream: Any) -> list[Any]:
        """What a stream holds."""
        return list(stream)

    def first(self, stream: Any) -> Any:
        """The first item of a stream that is then closed."""
        item = next(iter(stream))
        stream.close()
        return item

    def entered(self, manager: Any, read: str) -> list[Any]:
        """The events of an SDK's stream helper, and what a method of it gives in the end."""
        with manager as stream:
            return [*stream, getattr(stream, read)()]

    def together(self, number: int, function: Callable[..., Any], **arguments: Any) -> list[Any]:
        """So many identical calls at once; errors are returned."""

        def call(_: int) -> Any:
            try:
                return function(**arguments)
            except Exception as error:
                return error

        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(call, range(number)))

    def close(self) -> None:
        pass


class Async(Sync):
    """Async SDK clients, on one event loop a test."""

    is_async = True

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def openai(self, provider: Provider, key: str = KEY, retries: int = 0, **options: Any) -> Any:
        http = transports.async_client(**options)
        return openai.AsyncOpenAI(
            base_url=provider.base_url, api_key=key, max_retries=retries, http_client=http
        )

    def anthropic(self, provider: Provider, key: str = KEY, **options: Any) -> Any:
        return anthropic.AsyncAnthropic(
            base_url=provider.base_url.removesuffix("/v1"),
            api_key=key,
            max_retries=0,
            http_client=transports.async_client(**options),
        )

    def run(self, function: Callable[..., Any], **arguments: Any) -> Any:
        return self._runner.run(function(**arguments))

    def items(self, stream: Any) -> list[Any]:
        async def read() -> list[Any]:
            return [item async for item in stream]

        return self._runner.run(read())

    def first(self, stream: Any) -> Any:
        async def read() -> Any:
            item = await anext(aiter(stream))
            await stream.close()
            return item

        return self._runner.run(read())

    def entered(self, manager: Any, read: str) -> list[Any]:
        async def run() -> list[Any]:
            async with manager as stream:
                return [*[event async for event in stream], await getattr(stream, read)()]

        return self._runner.run(run())

    def together(self, number: int, function: Callable[..., Any], **arguments: Any) -> list[Any]:
        async def ask() -> list[Any]:
            calls = (function(**arguments) for _ in range(number))
            return await asyncio.gather(*calls, return_exceptions=True)

        return self._runner.run(ask())

    def close(self) -> None:
        self._runner.close()


@pytest.fixture(params=["sync", "async"])
def sdk(request: pytest.FixtureRequest) -> Iterator[Sync]:
    """The sync and then the async SDKs: a case that uses them runs over both."""
    made = Sync() if request.param == "sync" else Async()
    yield made
    made.close()
