"""Async clients belong to the event loop that opened them: each loop has its own until it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One thing for each running event loop.

    Args:
        make: makes it.
        close: closes it.
    """

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> None:
        self._make = make
        self._close = close
        self._opened: dict[asyncio.AbstractEventLoop, tuple[T, Any]] = {}

    def __len__(self) -> int:
        return len(self._opened)

    async def here(self) -> T:
        """The running loop's own."""
        loop = asyncio.get_running_loop()
        found = self._opened.get(loop)
        return found[0] if found is not None else await self._open(loop)

    async def _open(self, loop: asyncio.AbstractEventLoop) -> T:
        for other in list(self._opened):
            if other.is_closed():
                self._opened.pop(other, None)
        made = self._make()
        # A loop finishes its asynchronous generators before it closes: the last moment at which its
        # connections can be closed in good order. Short-lived loops (async_to_sync) need that.
        keeper = self._until_loop_ends(loop, made)
        self._opened[loop] = made, keeper
        await anext(keeper)
        return made

    async def _until_loop_ends(
        self, loop: asyncio.AbstractEventLoop, made: T
    ) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self._opened.pop(loop, None)
            await self._close(made)

    async def aclose(self) -> None:
        """Close the running loop's own."""
        found = self._opened.get(asyncio.get_running_loop())
        if found is not None:
            await found[1].aclose()
