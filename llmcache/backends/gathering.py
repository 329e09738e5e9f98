"""Reads that the tasks of one event loop want at the same moment go to the store together.

What an async client does for a command, or a change of threads, takes several times as long as the
read itself, and as long for many entries as for one. A read that is alone goes to the store right
away. While one is under way, the others that the loop comes to in one turn go at that turn's end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Final
from weakref import WeakKeyDictionary

from llmcache.backends.base import BaseBackend, run_in_thread

Found = bytes | Exception | None
"""An entry, why it cannot be read, or None for none."""
_MOST: Final = 16
"""Entries that are read together. More would save little, and large ones wait for each other."""


class _Turn:
    """What one event loop reads.

    Attributes:
        under_way: how many reads of the store there are now.
        waiting: who is served by those that start at the end of this turn.
    """

    __slots__ = ("tasks", "under_way", "waiting")

    def __init__(self) -> None:
        self.under_way = 0
        self.waiting: list[tuple[str, asyncio.Future[bytes | None]]] = []
        self.tasks: set[asyncio.Task[None]] = set()


class Gathering:
    """The async reads of one store.

    Args:
        one: reads one entry.
        many: reads several; who is not named has none.
    """

    def __init__(
        self,
        one: Callable[[str], Awaitable[bytes | None]],
        many: Callable[[Sequence[str]], Awaitable[Mapping[str, Found]]],
    ) -> None:
        self._one = one
        self._many = many
        self._turns: WeakKeyDictionary[Any, _Turn] = WeakKeyDictionary()

    async def get(self, digest: str) -> bytes | None:
        """One entry. Raises what the store raises, for this entry or for all that went with it."""
        loop = asyncio.get_running_loop()
        turn = self._turns.get(loop)
        if turn is None:
            turn = self._turns[loop] = _Turn()
        if turn.under_way:
            if not turn.waiting:
                loop.call_soon(self._start, loop, turn)
            future: asyncio.Future[bytes | None] = loop.create_future()
            turn.waiting.append((digest, future))
            return await future
        turn.under_way += 1
        try:
            return await self._one(digest)
        finally:
            turn.under_way -= 1

    def _start(self, loop: asyncio.AbstractEventLoop, turn: _Turn) -> None:
        waiting, turn.waiting = turn.waiting, []
        for first in range(0, len(waiting), _MOST):
            task = loop.create_task(self._serve(turn, waiting[first : first + _MOST]))
            turn.tasks.add(task)  # the loop keeps only weak references to its tasks
            task.add_done_callback(turn.tasks.discard)

    async def _serve(
        self, turn: _Turn, waiting: Sequence[tuple[str, asyncio.Future[bytes | None]]]
    ) -> None:
        digests = list(dict.fromkeys(digest for digest, _ in waiting))
        turn.under_way += 1
        try:
            found = await self._read(digests)
        except BaseException:  # the loop ends
            for _, future in waiting:
                future.cancel()
            raise
        finally:
            turn.under_way -= 1
        for digest, future in waiting:
            if not future.done():  # else its caller has left
                _settle(future, found.get(digest))

    async def _read(self, digests: Sequence[str]) -> Mapping[str, Found]:
        try:
            if len(digests) > 1:
                return await self._many(digests)
            return {digests[0]: await self._one(digests[0])}
        except Exception as error:
            return dict.fromkeys(digests, error)


def _settle(future: asyncio.Future[bytes | None], found: Found) -> None:
    if isinstance(found, Exception):
        future.set_exception(found)
        future.exception()  # a caller who leaves just now must not leave it reported as unread
    else:
        future.set_result(found)


class GatheredInThreads(BaseBackend):
    """Put before BaseBackend in the class of a store on this machine, whose reads take less time
    than the change of threads that keeps them from the loop.
    """

    @cached_property
    def _gathering(self) -> Gathering:
        return Gathering(partial(run_in_thread, self.get), partial(run_in_thread, self._get_each))

    async def aget(self, digest: str) -> bytes | None:
        return await self._gathering.get(digest)

    def _get_each(self, digests: Sequence[str]) -> dict[str, Found]:
        """As `get_many`; what is wrong with one entry is no other reader's affair."""
        found: dict[str, Found] = {}
        for digest in digests:
            try:
                found[digest] = self.get(digest)
            except Exception as error:
                found[digest] = error
        return found
