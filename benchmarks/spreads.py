"""How the times of single calls are spread, where it is the slow ones that tell."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median, quantiles

Spread = dict[str, float]
"""Seconds: the mean, and as p50 to p999 what so large a part of the calls did not exceed."""


def spread(seconds: Sequence[float]) -> Spread:
    """How single calls' times are spread."""
    cuts = quantiles(seconds, n=1000, method="inclusive")
    shares = {"p50": 499, "p95": 949, "p99": 989, "p999": 998}
    return {"mean": mean(seconds), **{name: cuts[place] for name, place in shares.items()}}


def steady(seconds: Sequence[float], stretches: int = 5) -> Spread:
    """As `spread`, of several stretches: of each figure the median. What else the machine does for
    a while spoils one of them only.
    """
    length = max(1, len(seconds) // stretches)
    starts = range(0, length * stretches, length)
    found = [spread(part) for at in starts if len(part := seconds[at : at + length]) > 1]
    return {name: median(one[name] for one in found) for name in found[0]}
