"""Sync and async functions and generators, made and called from one body."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from llmcache.decorators import cached

_NUMBERS = count()


class Way:
    """Makes and calls sync or async functions from one sync body."""

    def __init__(self, is_async: bool) -> None:
        self.is_async = is_async
        self.calls = 0

    def make(self, body: Any, **options: Any) -> Any:
        """A decorated function whose calls are counted."""

        def function(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return body(*args, **kwargs)

        async def afunction(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return function(*args, **kwargs)

        chosen: Any = afunction if self.is_async else function
        chosen.__signature__ = inspect.signature(body)
        chosen.__annotations__ = getattr(body, "__annotations__", {})
        chosen.__wrapped__ = body  # in whose module the annotations are to be read
        # In a module, as it would be: names with <locals> are fine, but must differ, from those of
        # earlier tests too: a warning about a name is logged once.
        chosen.__qualname__ = f"{body.__qualname__}-{next(_NUMBERS)}"
        return cached(**options)(chosen) if options else cached(chosen)

    def __call__(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        said = function(*args, **kwargs)
        return asyncio.run(said) if self.is_async else said

    def _outcome(self, function: Any, *args: Any) -> Any:
        try:
            return function(*args)
        except Exception as error:
            return error

    def together(self, number: int, function: Any, *args: Any) -> list[Any]:
        if not self.is_async:
            with ThreadPoolExecutor(number) as pool:
                return list(pool.map(lambda _: self._outcome(function, *args), range(number)))

        async def ask() -> list[Any]:
            return await asyncio.gather(
                *(function(*args) for _ in range(number)), return_exceptions=True
            )

        return asyncio.run(ask())


class Generators:
    """A generator function, sync or async, and its values."""

    def __init__(self, is_async: bool) -> None:
        self.is_async = is_async
        self.made: list[Any] = []
        self.closed = 0

    def make(self, body: Any, **options: Any) -> Any:
        def values(*args: Any, **kwargs: Any) -> Iterator[Any]:
            try:
                for value in body(*args, **kwargs):
                    self.made.append(value)
                    yield value
            finally:
                self.closed += 1

        async def avalues(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            for value in values(*args, **kwargs):
                await asyncio.sleep(0)
                yield value

        chosen: Any = avalues if self.is_async else values
        chosen.__annotations__ = getattr(body, "__annotations__", {})
        chosen.__wrapped__ = body  # in whose module the annotations are to be read
        chosen.__signature__ = inspect.signature(body)
        return cached(**options)(chosen) if options else cached(chosen)

    def read(self, function: Any, *args: Any, up_to: int | None = None, **kwargs: Any) -> list[Any]:
        if not self.is_async:
            values = function(*args, **kwargs)
            if up_to is None:
                return list(values)
            found = [next(values) for _ in range(up_to)]
            values.close()
            return found

        async def read() -> list[Any]:
            values = function(*args, **kwargs)
            if up_to is None:
                return [value async for value in values]
            found = [await anext(values) for _ in range(up_to)]
            await values.aclose()
            return found

        return asyncio.run(read())
