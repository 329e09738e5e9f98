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

from llmcache.singleflight import Abandoned


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
        self._pulling = threading.Lock()
        self._pulling.acquire()  # until there is a source
        # Re-entrant: the collector of garbage may close a forgotten reader at any moment.
        self._counting = threading.RLock()

    def begin(self, source: Generator[bytes, None, None]) -> None:
        """Say where the events come from; until then, those who read wait."""
        self._source = source
        self._pulling.release()

    def abandon(self) -> None:
        """Say that there will be no events."""
        self._ended, self._error = True, Abandoned()
        self._pulling.release()

    def join(self) -> bool:
        """Become one more reader; False when the last one has left."""
        with self._counting:
            if self.readers == 0:
                return False
            self.readers += 1
            return True

    def others(self) -> bool:
        """Whether more than one reads."""
        return self.readers > 1

    def pull(self, position: int, patience: float = -1) -> bool:
        """Have one more event than so many; False at the stream's end.

        Args:
            patience: seconds to wait for one who is fetching the event; -1 for no end.

        Raises:
            Abandoned: the stream was given up before its end.
            TimeoutError: patience is at its end.
            Exception: what the stream ended with.
        """
        if position < len(self.events):
            return True
        if not self._pulling.acquire(timeout=patience):
            raise TimeoutError
        try:
            if position >= len(self.events) and not self._ended:
                self._pull()
        finally:
            self._pulling.release()
        if position < len(self.events):
            return True
        if self._error is not None:
            raise self._error
        return False

    def _pull(self) -> None:
        assert self._source is not None
        try:
            event = next(self._source, None)
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

    def leave(self) -> None:
        """Read no further. The last reader to leave ends the stream where it is."""
        with self._counting:
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
