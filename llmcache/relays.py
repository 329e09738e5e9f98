"""A live stream for those who ask for it in other processes.

Who waits for a claim to end says so in the store. The process that has the claim looks for that now
and then while it streams, and if somebody waits, one more reader of the stream posts its events
there, batch by batch, each sealed under a name of its own that has the claim's token in it.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from time import monotonic, sleep, time
from typing import Any, Final

from django.db import connections

from llmcache import claims
from llmcache.broadcast import AsyncBroadcast, Broadcast
from llmcache.claims import Claim
from llmcache.envelope import Envelope, EnvelopeError, seal, unseal
from llmcache.exceptions import StreamBroken, UpstreamError
from llmcache.singleflight import Unshared

_LOOK: Final = 0.1
"""Seconds between two looks whether somebody waits."""
_WISH: Final = 1.0
"""Seconds after which who waits says so again."""
_WISH_STAYS: Final = 5.0
_BATCH_STAYS: Final = 120.0
_PAUSES: Final = (0.004, 0.05)
"""Seconds between two looks for the next batch: at first, and at the longest."""
_GRACE: Final = 2.0
"""Seconds without a batch after the claim has ended until the stream counts as broken off."""


def _wish(name: str) -> str:
    return f"{name}-wanted"


def _batch(name: str, token: bytes, number: int) -> str:
    return f"{name}-{token[-16:].hex()}-{number}"


# --- who waits ---


class Wish:
    """Tells whoever has a claim that this process waits for the answer: a stream then goes on even
    if its own reader is slow.
    """

    def __init__(self) -> None:
        self._said = -math.inf

    def _is_due(self) -> bool:
        now = monotonic()
        if now - self._said < _WISH:
            return False
        self._said = now
        return True

    def hears(self, held: bytes, claim: Claim) -> bool:
        """Whether there is something to hear of a claim's owner; a wish never does.

        Args:
            held: the owner's token.
            claim: the one that this process has not got.
        """
        if self._is_due():
            claim.backend.post(_wish(claim.name), b"1", _WISH_STAYS)
        return False

    async def ahears(self, held: bytes, claim: Claim) -> bool:
        """As `hears`."""
        if self._is_due():
            await claim.backend.apost(_wish(claim.name), b"1", _WISH_STAYS)
        return False


class Listener(Wish):
    """What this process hears of a stream that another one reads.

    Attributes:
        heard: whether the stream's first events have come.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heard = False
        self._claim: Claim
        self._held = b""
        self._number = 0
        self._heard: list[bytes] = []
        self._gone: float | None = None

    @property
    def _slot(self) -> str:
        return _batch(self._claim.name, self._held, self._number)

    def hears(self, held: bytes, claim: Claim) -> bool:
        super().hears(held, claim)
        self._held, self._claim = held, claim
        self.heard = self._opened(claim.backend.posted(self._slot)) is not None
        return self.heard

    async def ahears(self, held: bytes, claim: Claim) -> bool:
        await super().ahears(held, claim)
        self._held, self._claim = held, claim
        self.heard = self._opened(await claim.backend.aposted(self._slot)) is not None
        return self.heard

    def events(self, stored: Callable[[], Sequence[bytes]]) -> Iterator[bytes]:
        """The stream's events as they come, from the first.

        Args:
            stored: gives the events of the entry that is in the store by now; none if there is
                none. Whoever reads the stream may end before it has posted the last of them.

        Raises:
            UpstreamError: the stream ended in that error, or whoever read it is gone.
        """
        backend, pause = self._claim.backend, _PAUSES[0]
        while True:
            try:
                batch = self._opened(backend.posted(self._slot))
                if batch is None and self._is_due():
                    backend.post(_wish(self._claim.name), b"1", _WISH_STAYS)
                    self._note_owner(backend.claimed(self._claim.name))
            except UpstreamError:
                raise
            except Exception as error:
                batch = None
                self._failed(error)
            if batch is not None:
                yield from _lines(batch)
                if self._is_last(batch):
                    return
                pause = _PAUSES[0]
                continue
            if self._gone is not None:
                rest = self._rest(stored())
                if rest is not None:
                    yield from rest
                    return
                self._give_up_in_the_end()
            sleep(pause)
            pause = min(_PAUSES[1], pause * 1.5)

    async def aevents(
        self, stored: Callable[[], Awaitable[Sequence[bytes]]]
    ) -> AsyncIterator[bytes]:
        """As `events`."""
        backend, pause = self._claim.backend, _PAUSES[0]
        while True:
            try:
                batch = self._opened(await backend.aposted(self._slot))
                if batch is None and self._is_due():
                    await backend.apost(_wish(self._claim.name), b"1", _WISH_STAYS)
                    self._note_owner(await backend.aclaimed(self._claim.name))
            except UpstreamError:
                raise
            except Exception as error:
                batch = None
                self._failed(error)
            if batch is not None:
                for line in _lines(batch):
                    yield line
                if self._is_last(batch):
                    return
                pause = _PAUSES[0]
                continue
            if self._gone is not None:
                rest = self._rest(await stored())
                if rest is not None:
                    for line in rest:
                        yield line
                    return
                self._give_up_in_the_end()
            await asyncio.sleep(pause)
            pause = min(_PAUSES[1], pause * 1.5)

    def _opened(self, data: bytes | None) -> Envelope | None:
        try:
            return None if data is None else unseal(self._slot, data)
        except EnvelopeError:
            return None

    def _is_last(self, batch: Envelope) -> bool:
        self._number += 1
        self._heard += _lines(batch)
        error = claims.error_in(batch.header)
        if error is not None:
            raise error
        return bool(batch.header.get("end"))

    def _note_owner(self, held: bytes | None) -> None:
        if held is not None and not claims.is_claim(held):
            with suppress(Unshared):
                claims.read(self._claim.name, held)
        if held == self._held:
            self._gone = None
        elif self._gone is None:
            self._gone = monotonic()

    def _failed(self, error: Exception) -> None:
        claims.failed(self._claim.store, error)
        self._note_owner(None)

    def _rest(self, stored: Sequence[bytes]) -> Sequence[bytes] | None:
        """What of the stored events has not been heard; None if they are another stream's."""
        heard = len(self._heard)
        return stored[heard:] if stored and list(stored[:heard]) == self._heard else None

    def _give_up_in_the_end(self) -> None:
        if self._gone is not None and monotonic() - self._gone > _GRACE:
            raise StreamBroken("the process that read the stream for all is gone")


def _lines(batch: Envelope) -> list[bytes]:
    return batch.payload.split(b"\n") if batch.payload else []


# --- who streams ---


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
        return _wish(self.claim.name)

    def batch(self) -> tuple[str, bytes, float]:
        """The events that have come since the last batch, as `post` takes them."""
        events = self.stream.events[self.position :]
        self.position += len(events)
        return self.last({}, events)

    def last(
        self, header: dict[str, Any], events: Sequence[bytes] = ()
    ) -> tuple[str, bytes, float]:
        """As `batch`, for the one that tells how the stream has ended."""
        slot = _batch(self.claim.name, self.claim.token, self.number)
        self.number += 1
        data = seal(slot, b"\n".join(events), created=time(), is_stream=True, header=header)
        return slot, data, _BATCH_STAYS

    def looks_again(self) -> bool:
        """Whether it is time to see if anybody still waits."""
        now = monotonic()
        if now - self._looked < _WISH_STAYS:
            return False
        self._looked = now
        return True


def _told(error: Exception) -> dict[str, Any]:
    if not isinstance(error, UpstreamError):
        error = StreamBroken(f"the stream ended early ({type(error).__name__})")
    return claims.told(error)


def _post(relay: _Relay) -> None:
    """Post a stream's events as they come, until it ends or nobody waits any more."""
    backend, stream = relay.claim.backend, relay.stream
    header: dict[str, Any] = {"end": True}
    try:
        try:
            while stream.pull(relay.position):
                backend.post(*relay.batch())
                if relay.looks_again() and backend.posted(relay.wish) is None:
                    watch.offer(relay)
                    return
        except Exception as error:
            header = _told(error)
        backend.post(*relay.last(header))
    except Exception as error:
        claims.failed(relay.claim.store, error)
    finally:
        stream.leave()
        connections.close_all()


async def _apost(relay: _Relay) -> None:
    """As `_post`."""
    backend, stream = relay.claim.backend, relay.stream
    header: dict[str, Any] = {"end": True}
    try:
        try:
            while await stream.pull(relay.position):
                await backend.apost(*relay.batch())
                if relay.looks_again() and await backend.aposted(relay.wish) is None:
                    watch.offer(relay)
                    return
        except Exception as error:
            header = _told(error)
        await backend.apost(*relay.last(header))
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
                self._thread = threading.Thread(
                    target=self._run, name="llmcache-relays", daemon=True
                )
                self._thread.start()

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
                if self._is_wanted(relay):
                    self.withdraw(relay.claim)
                    self._begin(relay)

    def _is_wanted(self, relay: _Relay) -> bool:
        claim = relay.claim
        if not claim.store.breaker.allows():
            return False
        try:
            return claim.backend.posted(relay.wish) is not None
        except Exception as error:
            claims.failed(claim.store, error)
            return False

    def _begin(self, relay: _Relay) -> None:
        loop, stream = relay.loop, relay.stream
        if loop is None:
            if stream.join():
                thread = threading.Thread(target=_post, args=(relay,), name="llmcache-relay")
                thread.daemon = True
                thread.start()
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
