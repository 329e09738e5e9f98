"""The official SDKs over our transports, sync and async, so that one case runs over both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import anthropic
import httpx
import openai
import pytest

import llmcache.httpx
import llmcache.httpx2
from tests.servers.provider import Provider

SECRET = "sk-a-secret-of-the-test"


class SDK:
    """One kind of client, made anew for each set of options, all over one server."""

    def __init__(self, provider: Provider, library: ModuleType, *, is_async: bool) -> None:
        self.provider = provider
        self.library = library
        self.is_async = is_async
        self._runner = asyncio.Runner() if is_async else None
        self._clients: list[Any] = []

    def http(self, **options: Any) -> Any:
        make = self.library.async_client if self.is_async else self.library.client
        client = make(**options)
        self._clients.append(client)
        return client

    def openai(self, key: str = SECRET, http: Any = None, **options: Any) -> Any:
        settings = {"api_key": key, "base_url": self.provider.base_url, "max_retries": 0}
        make = openai.AsyncOpenAI if self.is_async else openai.OpenAI
        return make(**{**settings, **options}, http_client=http or self.http())

    def anthropic(self, key: str = SECRET, http: Any = None, **options: Any) -> Any:
        base_url = self.provider.base_url.removesuffix("/v1")
        settings = {"api_key": key, "base_url": base_url, "max_retries": 0}
        make = anthropic.AsyncAnthropic if self.is_async else anthropic.Anthropic
        return make(**{**settings, **options}, http_client=http or self.http())

    def run(self, result: Any) -> Any:
        """The result of a call, awaited where there is something to await."""
        if self._runner is None:
            return result

        async def wait() -> Any:
            return await result

        return self._runner.run(wait())

    def read(self, stream: Any, most: int | None = None) -> list[Any]:
        """A stream's events: all, or so many, and then it is closed."""
        if self._runner is None:
            if most is None:
                return list(stream)
            found = [next(stream) for _ in range(most)]
            stream.close()
            return found

        async def read() -> list[Any]:
            if most is None:
                return [event async for event in stream]
            found = [await anext(stream) for _ in range(most)]
            await stream.close()
            return found

        return self._runner.run(read())

    def final(self, manager: Any, method: str) -> Any:
        """What a stream helper has made of a whole stream."""
        if self._runner is None:
            with manager as events:
                return getattr(events, method)()

        async def read() -> Any:
            async with manager as events:
                return await getattr(events, method)()

        return self._runner.run(read())

    def together(self, number: int, ask: Callable[[], Any]) -> list[Any]:
        """So many calls at once; errors are returned."""
        if self._runner is None:

            def one(_: int) -> Any:
                try:
                    return ask()
                except Exception as error:
                    return error

            with ThreadPoolExecutor(number) as pool:
                return list(pool.map(one, range(number)))

        async def gather() -> list[Any]:
            return await asyncio.gather(*(ask() for _ in range(number)), return_exceptions=True)

        return self._runner.run(gather())

    def close(self) -> None:
        for client in self._clients:
            self.run(client.aclose()) if self.is_async else client.close()
        if self._runner is not None:
            self._runner.close()


@pytest.fixture(params=["sync", "async"])
def sdk(request: pytest.FixtureRequest, provider: Provider) -> Iterator[SDK]:
    """The official SDKs on the library that they are built on."""
    made = SDK(provider, llmcache.httpx2, is_async=request.param == "async")
    yield made
    made.close()


@pytest.fixture(params=["httpx-sync", "httpx-async", "httpx2-sync", "httpx2-async"])
def any_sdk(request: pytest.FixtureRequest, provider: Provider) -> Iterator[SDK]:
    """As `sdk`, over either library; OpenAI's takes both."""
    name, _, kind = request.param.partition("-")
    library = {"httpx": llmcache.httpx, "httpx2": llmcache.httpx2}[name]
    made = SDK(provider, library, is_async=kind == "async")
    yield made
    made.close()


def outcome(response: Any) -> str:
    """What a response's headers say that the cache did."""
    headers: httpx.Headers = response.headers
    return str(headers.get("x-llmcache-outcome", "none"))
