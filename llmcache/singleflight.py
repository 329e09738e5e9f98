"""One upstream call for identical misses in flight: the first is the leader, the others follow.

`Flights` serves threads, `AsyncFlights` the tasks of each event loop. They are two because a thread
that runs an event loop must never wait for one of its own tasks.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from llmcache.broadcast import Abandoned, AsyncBroadcast, Broadcast

T = TypeVar("T")


class Unshared(Exception):
    """The leader's answer is for the leader alone: each follower asks for itself.

    Attributes:
        error: the leader's own error, if that is how its call ended.
    """

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        super().__init__(str(error or "an answer that is not to be shared"))


class Flight(Future[T]):
    """What will come of one call.

    Attributes:
        broadcast: the call's stream, if it is one.
    """

    broadcast: Broadcast | None = None


class AsyncFlight(asyncio.Future[T]):
    """As `Flight`, for the tasks of one event loop."""

    broadcast: AsyncBroadcast | None = None


class Flights(Generic[T]):
    """Calls in flight among the threads of this process.

    `landings` counts the flights that have ended. Whoever read the store before it became a leader,
    and finds the count changed since, must read once more: the answer may have been stored between.
    """

    def __init__(self) -> None:
        self.landings = 0
        self.forget()

    def join(self, key: object, broadcast: Broadcast | None = None) -> tuple[Flight[T], bool]:
        """The flight for this key, and whether the caller is its leader.

        Args:
            broadcast: the leader's stream.
        """
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Flight()
            flight.broadcast = broadcast
            return flight, True

    def land(self, key: object) -> None:
        """End a flight whose answer is stored or will not be; its leader calls this, in every
        case.
        """
        with self._lock:
            flight = self._flights.pop(key, None)
            self.landings += 1
        if flight is not None and not flight.done():
            flight.set_exception(Abandoned())

    def forget(self) -> None:
        """Start empty in a forked child: the leaders are threads of the parent."""
        # Re-entrant: the collector of garbage may end a forgotten stream at any moment.
        self._lock = threading.RLock()
        self._flights: dict[object, Flight[T]] = {}


class AsyncFlights(Generic[T]):
    """Calls in flight among the tasks of each event loop; needs no lock, as a loop is one
    thread.
    """

    def __init__(self) -> None:
        self.landings = 0
        self._loops: WeakKeyDictionary[Any, dict[object, AsyncFlight[T]]] = WeakKeyDictionary()

    def join(
        self, key: object, broadcast: AsyncBroadcast | None = None
    ) -> tuple[AsyncFlight[T], bool]:
        """As `Flights.join`, for the running loop."""
        loop = asyncio.get_running_loop()
        flights = self._loops.setdefault(loop, {})
        flight = flights.get(key)
        if flight is not None:
            return flight, False
        flight = flights[key] = AsyncFlight(loop=loop)
        flight.broadcast = broadcast
        return flight, True

    def land(self, key: object) -> None:
        """As `Flights.land`, for the running loop."""
        flight = self._loops[asyncio.get_running_loop()].pop(key, None)
        self.landings += 1
        if flight is not None:
            if not flight.done():
                flight.set_exception(Abandoned())
            # Nobody may have followed: an unread error would be reported as never retrieved.
            if not flight.cancelled():
                flight.exception()
