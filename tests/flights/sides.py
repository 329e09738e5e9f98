"""Two sides that ask the same at once, as two processes do: the sync functions and the async ones
share no flight, only what is in the store.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import llmcache
from llmcache import caching
from tests.servers.proxy import Proxy

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "The same for all"}]}


def said(chunks: list[Any]) -> list[str]:
    """The words of a stream's chunks."""
    found = [chunk.choices[0].delta.content for chunk in chunks]
    return [word for word in found if word]


def strike(network: Proxy) -> None:
    """Nothing gets through to the store any more, until `refuses` is False again."""
    network.refuses = True
    network.cut_all()


def until(right: Callable[[], object]) -> None:
    """Wait for something."""
    end = time.monotonic() + 30
    while not right():
        assert time.monotonic() < end
        time.sleep(0.005)


class Threads:
    """The sync functions."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(4)

    def ask(self, **kwargs: Any) -> Future[Any]:
        """A whole answer, asked for meanwhile."""
        return self._pool.submit(llmcache.completion, **ASK, **kwargs)

    def open(self) -> Any:
        """A stream, at its first event."""
        return llmcache.completion(**ASK, stream=True)

    def some(self, stream: Any, number: int) -> list[Any]:
        """So many more chunks of it."""
        return [next(stream) for _ in range(number)]

    def rest(self, stream: Any) -> Future[list[Any]]:
        """All that is to come of it, read meanwhile."""
        return self._pool.submit(list, stream)

    def leave(self, stream: Any) -> None:
        """Close it."""
        stream.close()

    def close(self) -> None:
        self._pool.shutdown()


class Loop:
    """The async functions, on a loop that runs in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def _begin(self, step: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(step, self._loop)

    def ask(self, **kwargs: Any) -> Future[Any]:
        return self._begin(llmcache.acompletion(**ASK, **kwargs))

    def open(self) -> Any:
        return self._begin(llmcache.acompletion(**ASK, stream=True)).result(60)

    def some(self, stream: Any, number: int) -> list[Any]:
        async def read() -> list[Any]:
            return [await anext(stream) for _ in range(number)]

        found: list[Any] = self._begin(read()).result(60)
        return found

    def rest(self, stream: Any) -> Future[list[Any]]:
        async def read() -> list[Any]:
            return [chunk async for chunk in stream]

        return self._begin(read())

    def leave(self, stream: Any) -> None:
        self._begin(stream.close()).result(60)

    def close(self) -> None:
        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            store = caching.for_alias("default")
            assert store is not None
            await store.backend.aclose()

        self._begin(end()).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
