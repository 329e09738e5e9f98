"""How a call ended, as far as the cache is concerned: `response.cache`."""

from __future__ import annotations

from typing import Any, Final

from llmcache.pricing import cost_of
from llmcache.usage import Usage

HIT: Final = "hit"
STALE: Final = "stale"
COALESCED: Final = "coalesced"
MISS: Final = "miss"
BYPASS: Final = "bypass"
ERROR: Final = "error"
OUTCOMES: Final = (HIT, STALE, COALESCED, MISS, BYPASS, ERROR)
FAILED: Final = "failed"
"""What the log says of a call that ended in an error: it has no answer, so no CacheInfo says so."""
SERVED: Final = frozenset({HIT, STALE, COALESCED})
"""The outcomes that cost no upstream call of the caller's own."""


class CacheInfo:
    """Where an answer came from and what that saved.

    Attributes:
        outcome: "hit", "stale" (past its ttl, served by permission), "coalesced" (shared the
            upstream call of another caller), "miss", "bypass" (the cache was not asked), or "error"
            (the store failed, so upstream was called).
        reason: why it was no hit, or what else there is to say; "" for a plain hit.
        key: the entry's digest, or None where there is none.
        alias: the LLMCACHE alias; layer: the alias of the layer that answered.
        age: seconds since the answer was made upstream; 0.0 for a new one.
        similarity: 1.0 for the identical prompt; less for one that means the same; None for no hit.
        match: for the latter, the two prompts (`llmcache.matching.Match`); else None.
        stored: whether upstream's answer to this call is an entry now, or is about to be.
        latency: seconds this call took in all, as far as it has gone.
        usage: the tokens that making the answer took upstream, on a hit or a miss.
        upstream_latency: seconds that making the answer took upstream.
        lookup_cost: what embeddings made only to look the answer up have cost.
    """

    # Defaults stand in the class, so that a plain hit costs only what it has to tell.
    match: Any = None
    latency: float = 0.0
    lookup_cost: float = 0.0
    stored: bool = False
    items: tuple[int, int] | None = None
    """For embeddings: how many items were served from the cache, of how many."""

    def __init__(
        self,
        outcome: str,
        model: str = "",
        key: str | None = None,
        alias: str = "",
        layer: str = "",
        reason: str = "",
        source: Any = None,
        age: float = 0.0,
        similarity: float | None = None,
    ) -> None:
        self.outcome = outcome
        self.model = model
        self.key = key
        self.alias = alias
        self.layer = layer
        self.reason = reason
        self.age = age
        self.similarity = similarity
        self.source = source
        """Whatever has a `header` dict with the entry's usage: kept unparsed until asked for."""

    @property
    def hit(self) -> bool:
        """True when this caller caused no upstream call; what callbacks see as `cache_hit`."""
        return self.outcome in SERVED

    def _noted(self) -> dict[str, Any]:
        return self.source.header if self.source is not None else {}

    @property
    def usage(self) -> Usage:
        return Usage(**self._noted().get("usage", {}))

    @property
    def upstream_latency(self) -> float:
        return float(self._noted().get("seconds", 0.0))

    @property
    def saved_usage(self) -> Usage:
        """Tokens that this caller did not pay for."""
        if self.items is not None:
            return Usage(**self._noted().get("saved", {}))
        return self.usage if self.hit else Usage()

    @property
    def saved_tokens(self) -> int:
        """All tokens, in and out, that this caller did not pay for."""
        return self.saved_usage.total

    @property
    def saved_cost(self) -> float | None:
        """Money that this caller did not pay, in the price table's currency; None if unpriced."""
        return cost_of(self.priced_as, self.saved_usage)

    @property
    def cost(self) -> float | None:
        """Money that this caller paid for this answer; None if the model has no price."""
        paid = self.usage - self.saved_usage
        return cost_of(self.priced_as, paid)

    @property
    def priced_as(self) -> str:
        """The model whose price counts: of a view or a function, the one that its answer names."""
        return str(self._noted().get("priced_as") or self.model)

    def __repr__(self) -> str:
        reason = f", reason={self.reason!r}" if self.reason else ""
        return f"CacheInfo({self.outcome!r}, key={self.key!r}, age={self.age:.3f}{reason})"
