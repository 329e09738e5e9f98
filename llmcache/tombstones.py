"""What has been evicted, as each process remembers it, so that an entry which somebody puts back
into a shared store does not serve again.

Whoever can write to a store can put back the signed bytes that were evicted from it. So each
process remembers what the eviction log says went when, and compares that with when an entry's call
began, which its signature covers. Nothing is asked of the database here: `llmcache.invalidation`
fills the memory, reads of entries look into it, without a lock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from llmcache import events
from llmcache.envelope import Envelope

MOST: Final = 100_000
"""Digests that a process remembers, those that were evicted last: some 15 MB."""
RESEALED: Final = "resealed"
"""In the header of an entry that staff have stored again: when that was, in unix seconds. What was
evicted before that is another one."""
EVERYWHERE: Final = ""
_LONGEST_CALL: Final = 3600.0


class Tombstones:
    """The evictions that this process knows of. Moments are unix seconds."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        # The mappings are never changed but replaced, so that they can be read without a lock.
        self._digests: dict[str, Mapping[str, float]] = {}
        self._cleared: Mapping[str, float] = {}
        self._horizon = -math.inf

    def clear(self, aliases: Iterable[str], moment: float) -> None:
        """Note that all entries of some stores were evicted."""
        self._cleared = _later(self._cleared, aliases, moment)
        self._horizon = max(self._cleared.values(), default=-math.inf) + _LONGEST_CALL

    def bury(self, digests: Iterable[str], aliases: Iterable[str], moment: float) -> None:
        """Note that single entries were evicted, from some stores or EVERYWHERE."""
        aliases = tuple(aliases)
        alone = _later({}, aliases, moment)  # one mapping for all
        buried = self._digests
        for digest in digests:
            known = buried.pop(digest, None)  # what was noted last is forgotten last
            buried[digest] = _later(known, aliases, moment) if known else alone
        if len(buried) > MOST:
            for digest in list(islice(buried, len(buried) - MOST)):
                buried.pop(digest, None)
            events.warn_once(
                "evictions_forgotten",
                "More was evicted than a process remembers (%s): entries that were evicted before "
                "could be put back by whoever can write to their store",
                MOST,
            )

    def may_cover(self, digest: str, envelope: Envelope) -> bool:
        """Whether it is worth asking `cover`: cheap, and False for nearly all entries."""
        return digest in self._digests or envelope.created < self._horizon

    def cover(self, aliases: Iterable[str], digest: str, envelope: Envelope) -> bool:
        """Whether an entry that a store has given was evicted after its call began.

        Args:
            aliases: the store's names.
        """
        header: Mapping[str, Any] = envelope.header
        begun = envelope.created - header.get("seconds", 0.0)
        begun = max(begun, header.get(RESEALED, begun))
        buried = self._digests.get(digest, {})
        return any(
            begun < moments.get(alias, -math.inf)
            for moments in (buried, self._cleared)
            for alias in (EVERYWHERE, *aliases)
        )


def _later(known: Mapping[str, float], aliases: Iterable[str], moment: float) -> dict[str, float]:
    return {**known, **{alias: max(moment, known.get(alias, moment)) for alias in aliases}}


tombstones: Final = Tombstones()
