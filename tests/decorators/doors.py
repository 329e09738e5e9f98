"""One way to write a case for sync and async views alike: the view, the client that asks it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path

from llmcache.decorators import cached_completion


class Urls:
    """A module of URLs, as ROOT_URLCONF takes it."""

    def __init__(self, **views: Any) -> None:
        self.urlpatterns = [path(f"{name}/", view, name=name) for name, view in views.items()]


class Door:
    """The tests' site with these views, asked in the sync or in the async way.

    Views are written sync. `view` makes an async one of them for the async door.
    """

    def __init__(self, settings: Any, *, is_async: bool) -> None:
        self.is_async = is_async
        self._settings = settings
        # A site in one language: else each language has answers of its own.
        settings.MIDDLEWARE = [
            name for name in settings.MIDDLEWARE if not name.endswith(".LocaleMiddleware")
        ]
        self._runner = asyncio.Runner()

    def view(self, function: Callable[..., Any]) -> Any:
        """The function as a view of this door's kind."""
        if not self.is_async:
            return function

        async def view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return function(request, *args, **kwargs)

        view.__name__ = view.__qualname__ = function.__name__
        view.__module__ = function.__module__
        return view

    def chunks(self, parts: Iterator[bytes]) -> Any:
        """The parts as an iterator of this door's kind."""
        if not self.is_async:
            return parts

        async def parts_() -> AsyncIterator[bytes]:
            try:
                for part in parts:
                    await asyncio.sleep(0)
                    yield part
            finally:
                parts.close()  # type: ignore[attr-defined]

        return parts_()

    def serve(self, **views: Any) -> None:
        """Put views in place of the tests' own URLs."""
        self._settings.ROOT_URLCONF = Urls(**views)

    def client(self, **kwargs: Any) -> Any:
        return AsyncClient(**kwargs) if self.is_async else Client(**kwargs)

    def ask(self, name: str, client: Any = None, *, method: str = "get", **kwargs: Any) -> Any:
        """A response, its stream read."""
        client = client or self.client()
        response = getattr(client, method)(name if "/" in name else f"/{name}/", **kwargs)
        if not self.is_async:
            return self._read(response)
        return self._runner.run(self._aread(response))

    def _read(self, response: Any) -> Any:
        response.said = b"".join(response) if response.streaming else response.content
        return response

    async def _aread(self, asked: Any) -> Any:
        response = await asked
        if response.streaming:
            response.said = b"".join([part async for part in response])
        else:
            response.said = response.content
        return response

    def renewed(self, name: str, old: bytes) -> Any:
        """The first response that no longer says what the old one did."""
        while (found := self.ask(name)).said == old:
            self.sleep(0.01)
        return found

    def together(self, number: int, name: str) -> list[Any]:
        """So many identical requests at once."""
        if not self.is_async:
            with ThreadPoolExecutor(number) as pool:
                return list(pool.map(lambda _: Client().get(f"/{name}/"), range(number)))

        async def ask() -> list[Any]:
            return await asyncio.gather(*(AsyncClient().get(f"/{name}/") for _ in range(number)))

        return self._runner.run(ask())

    def sleep(self, seconds: float) -> None:
        """Let what goes on in the background go on."""
        if self.is_async:
            self._runner.run(asyncio.sleep(seconds))
        else:
            time.sleep(seconds)

    def run(self, awaitable: Any) -> Any:
        return self._runner.run(awaitable)

    def close(self) -> None:
        self._runner.close()


class Counted:
    """A view that counts its calls and answers with their number, or as `answer` says."""

    def __init__(self, answer: Any = None) -> None:
        self.calls = 0
        self._answer = answer
        self._lock = threading.Lock()

    def __call__(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            self.calls += 1
        if self._answer is None:
            return HttpResponse(f"answer {self.calls}")
        return self._answer(request)


def decorated(door: Door, counted: Any, **kwargs: Any) -> Any:
    def answer(request: Any, *args: Any, **more: Any) -> Any:
        return counted(request, *args, **more)

    return cached_completion(**kwargs)(door.view(answer))
