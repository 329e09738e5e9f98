"""Time limits that tell a server that is late from an event loop that is.

While thousands of tasks take their steps, an answer that has come lies unread, and a timer that
goes off then has found out nothing. So a deadline that comes while the loop is late is put off for
as long again; and before any is over, the loop comes round a few times and reads what is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_LATE: Final = 0.01
"""Seconds that a loop with little to do is never late."""
_ROUNDS: Final = 3
_LONGEST: Final = 40.0
"""Time limits after which a deadline is over, however late the loop is."""


class Deadline:
    """One timer.

    Args:
        seconds: the time limit.
        over: called once, when it has passed.
    """

    __slots__ = ("_due", "_handle", "_latest", "_loop", "_over", "_rounds")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, over: Callable[[], object]
    ) -> None:
        now = loop.time()
        self._loop = loop
        self._over = over
        self._due = now + seconds
        self._latest = now + seconds * _LONGEST
        self._rounds = 0
        self._handle: asyncio.Handle = loop.call_at(self._due, self._look)

    def cancel(self) -> None:
        """Let it be over never."""
        self._handle.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        late = now - self._due
        if late > _LATE and now < self._latest:
            self._due, self._rounds = now + late, 0
            self._handle = self._loop.call_at(self._due, self._look)
        elif self._rounds < _ROUNDS:
            self._rounds += 1
            self._handle = self._loop.call_soon(self._look)
        else:
            self._over()
