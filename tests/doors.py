"""One way to write a case for the sync and the async functions alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import llmcache
from llmcache.exceptions import UpstreamError


class SyncDoor:
    """`llmcache.completion` and its siblings."""

    is_async = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(llmcache, name)

    def chunks(self, stream: Any, most: int | None = None) -> list[Any]:
        """Reads a stream to its end, or some chunks of it and then closes it."""
        if most is None:
            return list(stream)
        found = [next(stream) for _ in range(most)]
        stream.close()
        return found

    def chunk(self, stream: Any) -> Any:
        """Reads one more chunk of a stream."""
        return next(stream)

    def leave(self, stream: Any) -> None:
        """Closes a stream."""
        stream.close()

    def streams_together(self, number: int, **kwargs: Any) -> list[Any]:
        """So many identical streams at once, each as (stream, its chunks); errors are returned."""

        def ask(_: int) -> Any:
            try:
                stream: Any = llmcache.completion(**kwargs, stream=True)
                return stream, list(stream)
            except UpstreamError as error:
                return error

        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(ask, range(number)))

    def together(self, number: int, **kwargs: Any) -> list[Any]:
        """So many identical completions at once; errors are returned."""

        def ask(_: int) -> Any:
            try:
                return llmcache.completion(**kwargs)
            except UpstreamError as error:
                return error

        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(ask, range(number)))

    def sleep(self, seconds: float) -> None:
        import time

        time.sleep(seconds)

    def close(self) -> None:
        pass


class AsyncDoor:
    """`llmcache.acompletion` and its siblings, on one event loop a test."""

    is_async = True

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(llmcache, f"a{name}")
        return lambda *args, **kwargs: self._runner.run(function(*args, **kwargs))

    def chunks(self, stream: Any, most: int | None = None) -> list[Any]:
        async def read() -> list[Any]:
            if most is None:
                return [chunk async for chunk in stream]
            found = [await anext(stream) for _ in range(most)]
            await stream.close()
            return found

        return self._runner.run(read())

    def chunk(self, stream: Any) -> Any:
        return self._runner.run(anext(stream))

    def leave(self, stream: Any) -> None:
        self._runner.run(stream.close())

    def streams_together(self, number: int, **kwargs: Any) -> list[Any]:
        async def read() -> Any:
            stream: Any = await llmcache.acompletion(**kwargs, stream=True)
            return stream, [chunk async for chunk in stream]

        async def ask() -> list[Any]:
            calls = (read() for _ in range(number))
            return await asyncio.gather(*calls, return_exceptions=True)

        return self._runner.run(ask())

    def together(self, number: int, **kwargs: Any) -> list[Any]:
        async def ask() -> list[Any]:
            calls = (llmcache.acompletion(**kwargs) for _ in range(number))
            return await asyncio.gather(*calls, return_exceptions=True)

        return self._runner.run(ask())

    def sleep(self, seconds: float) -> None:
        self._runner.run(asyncio.sleep(seconds))

    def close(self) -> None:
        self._runner.close()
