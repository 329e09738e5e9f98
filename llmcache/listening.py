"""What processes tell each other while one of them asks upstream: those who wait for its claim to
end say so in the store, and of a stream they hear there, batch by batch, as it comes.

`relays` is the other side. Each batch is sealed under a name of its own that has the claim's token
in it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from time import monotonic, sleep
from typing import Final

from llmcache import claims
from llmcache.claims import Claim
from llmcache.envelope import Envelope, EnvelopeError, unseal
from llmcache.exceptions import StreamBroken, UpstreamError
from llmcache.singleflight import Unshared

WISH_STAYS: Final = 5.0
"""Seconds that a wish is in the store."""
_WISH: Final = 1.0
"""Seconds after which who waits says so again."""
_PAUSES: Final = (0.004, 0.05)
"""Seconds between two looks for the next batch: at first, and at the longest."""
_GRACE: Final = 2.0
"""Seconds without a batch after the claim has ended until the stream counts as broken off."""


def wish_slot(name: str) -> str:
    """Where those who wait for a claim say so."""
    return f"{name}-wanted"


def batch_slot(name: str, token: bytes, number: int) -> str:
    """Where a stream's batch of this number is."""
    return f"{name}-{token[-16:].hex()}-{number}"


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
            claim.backend.post(wish_slot(claim.name), b"1", WISH_STAYS)
        return False

    async def ahears(self, held: bytes, claim: Claim) -> bool:
        """As `hears`."""
        if self._is_due():
            await claim.backend.apost(wish_slot(claim.name), b"1", WISH_STAYS)
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
        self._fails = False  # whether the store could not be asked just now

    @property
    def _slot(self) -> str:
        return batch_slot(self._claim.name, self._held, self._number)

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
            UpstreamError: the stream ended in that error, or whoever read it is gone, or the store
                has failed for too long.
        """
        backend, pause = self._claim.backend, _PAUSES[0]
        while True:
            try:
                batch = self._opened(backend.posted(self._slot))
                if batch is None and self._is_due():
                    backend.post(wish_slot(self._claim.name), b"1", WISH_STAYS)
                    self._note_owner(backend.claimed(self._claim.name))
            except UpstreamError:
                raise
            except Exception as error:
                batch = None
                self._failed(error)
            else:
                self._fails = False
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
                    await backend.apost(wish_slot(self._claim.name), b"1", WISH_STAYS)
                    self._note_owner(await backend.aclaimed(self._claim.name))
            except UpstreamError:
                raise
            except Exception as error:
                batch = None
                self._failed(error)
            else:
                self._fails = False
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
        if self._gone is not None:
            self._gone = monotonic()
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
        if not self._fails:  # it is asked many times a second
            claims.failed(self._claim.store, error)
        self._fails = True
        self._note_owner(None)

    def _rest(self, stored: Sequence[bytes]) -> Sequence[bytes] | None:
        """What of the stored events has not been heard; None if they are another stream's."""
        heard = len(self._heard)
        return stored[heard:] if stored and list(stored[:heard]) == self._heard else None

    def _give_up_in_the_end(self) -> None:
        if self._gone is None or monotonic() - self._gone <= _GRACE:
            return
        if self._fails:
            raise StreamBroken("the store over which another process shares the stream fails")
        raise StreamBroken("the process that read the stream for all is gone")


def _lines(batch: Envelope) -> list[bytes]:
    return batch.payload.split(b"\n") if batch.payload else []
