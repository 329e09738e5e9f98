"""What the tasks of one event loop exchange with a server: so much at a time, each within its time.

A thousand tasks that ask at once keep their loop busy for longer than one exchange may take, and
need more connections than a server should have to keep. So those that are too many wait, and their
time begins when it is their turn. A server that hangs costs those who wait nothing more.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Final
from weakref import WeakKeyDictionary

MOST: Final = 64
"""Exchanges of one loop at a time."""


class _Gate:
    """The exchanges of one event loop.

    Attributes:
        hung: how many have taken too long.
    """

    __slots__ = ("hung", "places")

    def __init__(self, most: int) -> None:
        self.places = asyncio.Semaphore(most)
        self.hung = 0


class Exchanges:
    """The exchanges with one server, or with several that count as one.

    Args:
        bound: seconds that one may take; None for no limit.
        most: how many there may be at a time on one event loop.
    """

    def __init__(self, bound: float | None, most: int = MOST) -> None:
        self._bound = bound
        self._most = most
        self._gates: WeakKeyDictionary[Any, _Gate] = WeakKeyDictionary()

    def one(self) -> _Exchange:
        """One exchange, for `async with`. Raises TimeoutError as `asyncio.timeout` does, and also
        when others did not end in time while it waited for its turn."""
        loop = asyncio.get_running_loop()
        gate = self._gates.get(loop)
        if gate is None:
            gate = self._gates[loop] = _Gate(self._most)
        return _Exchange(gate, self._bound)


class _Exchange:
    __slots__ = ("_bound", "_gate", "_timeout")

    def __init__(self, gate: _Gate, bound: float | None) -> None:
        self._gate = gate
        self._bound = bound

    async def __aenter__(self) -> None:
        gate = self._gate
        hung = gate.hung
        await gate.places.acquire()
        if gate.hung != hung:
            gate.places.release()
            raise TimeoutError("the store did not answer others in time")
        self._timeout = asyncio.timeout(self._bound)
        await self._timeout.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError:
            self._gate.hung += 1
            raise
        finally:
            self._gate.places.release()
