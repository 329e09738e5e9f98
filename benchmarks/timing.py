"""Interleaved timing: every round runs each contender once, so that drift hits all alike."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median, quantiles
from time import perf_counter

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


Contender = Callable[[int], float]
"""Runs so many calls and returns the seconds that one took on average."""


def calling(function: Callable[[], object]) -> Contender:
    """A contender that calls a function in this process."""

    def run(times: int) -> float:
        started = perf_counter()
        for _ in range(times):
            function()
        return (perf_counter() - started) / times

    return run


@dataclass(frozen=True)
class Result:
    """Medians of one row of the table.

    Attributes:
        seconds: by contender.
        ratios: of "ours" to each other contender, the median of the rounds' own ratios.
    """

    name: str
    goal: str
    seconds: dict[str, float]
    ratios: dict[str, float]


def race(
    name: str, goal: str, contenders: Mapping[str, Contender], *, times: int, rounds: int
) -> Result:
    """Measure the contenders, "ours" among them, over some rounds of so many calls each."""
    for contender in contenders.values():
        contender(max(2, times // 10))
    taken: dict[str, list[float]] = {who: [] for who in contenders}
    names = list(contenders)
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            shift = number % len(names)
            for who in names[shift:] + names[:shift]:
                taken[who].append(contenders[who](times))
    finally:
        gc.enable()
    ratios = {
        who: median(mine / theirs for mine, theirs in zip(taken["ours"], taken[who], strict=True))
        for who in names
        if who != "ours"
    }
    return Result(name, goal, {who: median(taken[who]) for who in names}, ratios)
