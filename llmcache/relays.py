"""A live stream for those who ask for it in other processes.

The process that has the claim looks now and then while it streams whether somebody elsewhere waits;
then one more reader of the stream posts its events in the store, where `listening` finds them.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic, sleep, time
from typing import Any, Final

from django.db import connections

from llmcache import claims, threads
from llmcache.broadcast import AsyncBroadcast, Broadcast
from llmcache.claims import Claim
from llmcache.envelope import seal
from llmcache.exceptions import StreamBroken, UpstreamError
from llmcache.listening import WISH_STAYS, batch_slot, wish_slot

_LOOK: Final = 0.1
"""Seconds between two looks whether somebody waits."""
_BATCH_STAYS: Final = 120.0


class _Relay:
    """One stream that is offered to other processes.

    Args:
        stream: a Broadcast, or an AsyncBroadcast of the loop.
    """

    def __init__(self, claim: Claim, stream: Any, loop: asyncio.AbstractEventLoop | None) -> None:
        self.claim = claim
        self.stream = stream
        self.loop = loop
        self.number = 0
        self.position = 0
        self._looked = monotonic()

    @property
    def wish(self) -> str:
        return wish_slot(self.claim.name)

    def batch(self) -> tuple[str, bytes, float]:
        """The events that have come since the last batch, as `post` takes them."""
        events = self.stream.events[self.position :]
        self.position += len(events)
        return self.last({}, events)

    def last(
        self, header: dict[str, Any], events: Sequence[bytes] = ()
    ) -> tuple[str, bytes, float]:
        """As `batch`, for the one that tells how the stream has ended."""
        slot = batch_slot(self.claim.name, self.claim.token, self.number)
        self.number += 1
        data = seal(slot, b"\n".join(events), created=time(), is_stream=True, header=header)
        return slot, data, _BATCH_STAYS

    def looks_again(self) -> bool:
        """Whether it is time to see if anybody still waits."""
        now = monotonic()
        if now - self._looked < WISH_STAYS:
            return False
        self._looked = now
        return True


def _told(error: Exception) -> dict[str, Any]:
    if not isinstance(error, UpstreamError):
        error = StreamBroken(f"the stream ended early ({type(error).__name__})")
    return claims.told(error)


def _end(relay: _Relay) -> dict[str, Any] | None:
    """What to tell of the stream's end; None while it goes on."""
    try:
        return None if relay.stream.pull(relay.position) else {"end": True}
    except Exception as error:
        return _told(error)


async def _aend(relay: _Relay) -> dict[str, Any] | None:
    """As `_end`."""
    try:
        return None if await relay.stream.pull(relay.position) else {"end": True}
    except Exception as error:
        return _told(error)


def _post(relay: _Relay) -> None:
    """Post a stream's events as they come, until it ends or nobody waits any more.

    A store that fails is no end of the stream: those who wait find the rest in its entry.
    """
    backend, stream = relay.claim.backend, relay.stream
    try:
        while (end := _end(relay)) is None:
            backend.post(*relay.batch())
            if relay.looks_again() and backend.posted(relay.wish) is None:
                watch.offer(relay)
                return
        backend.post(*relay.last(end))
    except Exception as error:
        claims.failed(relay.claim.store, error)
    finally:
        stream.leave()
        connections.close_all()


async def _apost(relay: _Relay) -> None:
    """As `_post`."""
    backend, stream = relay.claim.backend, relay.stream
    try:
        while (end := await _aend(relay)) is None:
            await backend.apost(*relay.batch())
            if relay.looks_again() and await backend.aposted(relay.wish) is None:
                watch.offer(relay)
                return
        await backend.apost(*relay.last(end))
    except Exception as error:
        claims.failed(relay.claim.store, error)
    finally:
        await stream.leave()


class _Watch:
    """Looks whether other processes wait for the streams of this one, by one thread that runs while
    there are any.
    """

    def __init__(self) -> None:
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._relays: dict[Claim, _Relay] = {}
        # Re-entrant: the collector of garbage may end a forgotten stream at any moment.
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, relay: _Relay) -> None:
        """Post the events of a stream, if somebody comes to wait for them."""
        with self._lock:
            self._relays[relay.claim] = relay
            if self._thread is None:
                self._thread = threads.started(self._run, "relays")

    def withdraw(self, claim: Claim) -> None:
        """A stream has ended."""
        with self._lock:
            self._relays.pop(claim, None)

    def _run(self) -> None:
        while True:
            sleep(_LOOK)
            with self._lock:
                if not self._relays:
                    self._thread = None
                    return
                relays = list(self._relays.values())
            for relay in relays:
                if not relay.stream.readers:  # it has ended since it was offered again
                    self.withdraw(relay.claim)
                elif self._is_wanted(relay):
                    self.withdraw(relay.claim)
                    self._begin(relay)

    def _is_wanted(self, relay: _Relay) -> bool:
        claim = relay.claim
        if claim.store.is_resting:
            return False
        try:
            return claim.backend.posted(relay.wish) is not None
        except Exception as error:
            claims.failed(claim.store, error)
            return False

    def _begin(self, relay: _Relay) -> None:
        loop, stream = relay.loop, relay.stream
        if loop is None:
            if stream.join() and threads.started(_post, "relay", relay) is None:
                self.offer(relay)  # to be begun at the next look
                stream.leave()
            return

        def begin() -> None:
            if stream.join():
                task = loop.create_task(_apost(relay))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        with suppress(RuntimeError):  # the loop is closed, and so is the stream
            loop.call_soon_threadsafe(begin)


watch: Final = _Watch()
os.register_at_fork(after_in_child=watch._start_afresh)


def offer(claim: Claim, stream: Broadcast) -> None:
    """Let other processes have a stream, if one waits for it, until `withdraw`."""
    watch.offer(_Relay(claim, stream, None))


def aoffer(claim: Claim, stream: AsyncBroadcast) -> None:
    """As `offer`, for a stream of the running loop."""
    watch.offer(_Relay(claim, stream, asyncio.get_running_loop()))


def withdraw(claim: Claim) -> None:
    """The claim's stream has ended."""
    watch.withdraw(claim)
