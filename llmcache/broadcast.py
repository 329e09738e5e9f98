"""One live stream for all who ask for it at the same time: each reads it from its beginning, and
whoever is ahead of the others fetches the next event.

So nobody waits for a slow reader, and one that leaves takes nothing from the others. The source is
closed when the last reader has left. `Broadcast` serves threads, `AsyncBroadcast` the tasks of one
event loop. Whoever makes one is its first reader, and must either `begin` or `abandon` it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator


class Abandoned(Exception):
    """Whoever was to bring an answer ended without one and without an error of its own: another
    should take over.
    """


class Broadcast:
    """One stream and its readers, in threads.

    Attributes:
        events: those that have come so far.
        readers: how many are reading.
    """

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.readers = 1
        self._ended = False
        self._error: BaseException | None = None
        self._source: Generator[bytes, None, None] | None = None
        self._fetching = False
        # Re-entrant: the collector of garbage may close a forgotten reader at any moment.
        self._changed = threading.Condition(threading.RLock())

    def begin(self, source: Generator[bytes, None, None]) -> None:
        """Say where the events come from; until then, those who read wait."""
        with self._changed:
            self._source = source
            self._changed.notify_all()

    def abandon(self) -> None:
        """Say that there will be no events."""
        with self._changed:
            self._ended, self._error = True, Abandoned()
            self._changed.notify_all()

    def join(self) -> bool:
        """Become one more reader; False when the last one has left."""
        with self._changed:
            if self.readers == 0:
                return False
            self.readers += 1
            return True

    def others(self) -> bool:
        """Whether more than one reads."""
        return self.readers > 1

    def pull(self, position: int, patience: float | None = None) -> bool:
        """Have one more event than so many; False at the stream's end.

        Args:
            patience: seconds to wait for one who fetches the event; None for no end.

        Raises:
            Abandoned: the stream was given up before its end.
            TimeoutError: patience is at its end.
            Exception: what the stream ended with.
        """
        if position < len(self.events):
            return True
        with self._changed:
            while position >= len(self.events) and not self._ended:
                if self._source is not None and not self._fetching:
                    self._fetching = True
                    break
                if not self._changed.wait(patience):
                    raise TimeoutError
        if position >= len(self.events) and not self._ended:
            self._fetch()
        if position < len(self.events):
            return True
        if self._error is not None:
            raise self._error
        return False

    def _fetch(self) -> None:
        assert self._source is not None
        event, error = None, None
        try:
            event = next(self._source, None)
        except Exception as raised:
            error = raised
        except BaseException:
            error = Abandoned()
            raise
        finally:
            with self._changed:
                self._fetching = False
                if event is None:
                    self._ended, self._error = True, error
                else:
                    self.events.append(event)
                self._changed.notify_all()

    def leave(self) -> None:
        """Read no further. The last reader to leave ends the stream where it is."""
        with self._changed:
            self.readers -= 1
            if self.readers:
                return
        if self._source is not None:
            self._source.close()


class AsyncBroadcast:
    """As `Broadcast`, among the tasks of one event loop."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.readers = 1
        self._ended = False
        self._error: BaseException | None = None
        self._source: AsyncGenerator[bytes, None] | None = None
        self._begun = asyncio.Event()
        self._pulling: asyncio.Task[None] | None = None

    def begin(self, source: AsyncGenerator[bytes, None]) -> None:
        """As `Broadcast.begin`."""
        self._source = source
        self._begun.set()

    def abandon(self) -> None:
        """As `Broadcast.abandon`."""
        self._ended, self._error = True, Abandoned()
        self._begun.set()

    def join(self) -> bool:
        """As `Broadcast.join`."""
        if self.readers == 0:
            return False
        self.readers += 1
        return True

    def others(self) -> bool:
        """As `Broadcast.others`."""
        return self.readers > 1

    async def pull(self, position: int) -> bool:
        """As `Broadcast.pull`. A reader that is cancelled meanwhile takes nothing from others."""
        if self._source is None:
            await self._begun.wait()
        while position >= len(self.events) and not self._ended:
            if self._pulling is None:
                self._pulling = asyncio.get_running_loop().create_task(self._pull())
            await asyncio.shield(self._pulling)
        if position < len(self.events):
            return True
        if self._error is not None:
            raise self._error
        return False

    async def _pull(self) -> None:
        assert self._source is not None
        try:
            event = await anext(self._source, None)
        except Exception as error:
            self._ended, self._error = True, error
        except BaseException:
            self._ended, self._error = True, Abandoned()
            raise
        else:
            if event is None:
                self._ended = True
            else:
                self.events.append(event)
        finally:
            self._pulling = None

    async def leave(self) -> None:
        """As `Broadcast.leave`."""
        self.readers -= 1
        if self.readers:
            return
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.wait([self._pulling])
        if self._source is not None:
            await self._source.aclose()
