"""What has been evicted, as each process remembers it, so that an entry which somebody puts back
into a shared store does not serve again; nor does one that an eviction by tag could not find, as it
was not in the index yet.

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
from llmcache.text import name_of

MOST: Final = 100_000
"""Digests that a process remembers, those that were evicted last, and as many tags and other
names: some 15 MB of each."""
RESEALED: Final = "resealed"
"""In the header of an entry that staff have stored again: when that was, in unix seconds. What was
evicted before that is another one."""
EVERYWHERE: Final = ""
ALL: Final = ("alias", "")
"""All entries of a store, as `bury_all` takes it."""
_LONGEST_CALL: Final = 3600.0


class Tombstones:
    """The evictions that this process knows of. Moments are unix seconds."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        # The mappings are never changed but replaced, so that they can be read without a lock.
        self._digests: dict[str, Mapping[str, float]] = {}
        self._common: dict[tuple[str, str], Mapping[str, float]] = {}
        self._horizon = -math.inf

    def bury_all(self, what: str, value: str, aliases: Iterable[str], moment: float) -> None:
        """Note that all entries with something in common were evicted.

        Args:
            what, value: as `models.Eviction` has them: a tag, a namespace and so on, or ALL.
            aliases: of the stores, or EVERYWHERE.
        """
        known = self._common.pop((what, value), {})
        self._common[what, value] = _later(known, aliases, moment)
        self._horizon = max(self._horizon, moment + _LONGEST_CALL)
        _forget_oldest(self._common)

    def bury(self, digests: Iterable[str], aliases: Iterable[str], moment: float) -> None:
        """Note that single entries were evicted, from some stores or EVERYWHERE."""
        aliases = tuple(aliases)
        alone = _later({}, aliases, moment)  # one mapping for all
        buried = self._digests
        for digest in digests:
            known = buried.pop(digest, None)  # what was noted last is forgotten last
            buried[digest] = _later(known, aliases, moment) if known else alone
        _forget_oldest(buried)

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
        evicted = [self._digests.get(digest)]
        if begun < self._horizon:
            evicted += [self._common.get(name) for name in _names(header)]
        return any(
            begun < moments.get(alias, -math.inf)
            for moments in evicted
            if moments
            for alias in (EVERYWHERE, *aliases)
        )


def _names(header: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """All that an entry with this header can be evicted by, but its digest."""
    yield ALL
    for tag in header.get("tags", ()):
        yield "tag", name_of(tag)
    for what in ("namespace", "scope", "model"):
        if what in header:
            yield what, name_of(header[what])


def _forget_oldest(memory: dict[Any, Any]) -> None:
    if len(memory) <= MOST:
        return
    for name in list(islice(memory, len(memory) - MOST)):
        memory.pop(name, None)
    events.warn_once(
        "evictions_forgotten",
        "More was evicted than a process remembers (%s): entries that were evicted before could be "
        "put back by whoever can write to their store",
        MOST,
    )


def _later(known: Mapping[str, float], aliases: Iterable[str], moment: float) -> dict[str, float]:
    return {**known, **{alias: max(moment, known.get(alias, moment)) for alias in aliases}}


tombstones: Final = Tombstones()
