"""Interleaved timing: every round runs each contender once, so that drift hits all alike."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median, quantiles
from time import perf_counter

Contender = Callable[[int], float]
"""Runs so many calls and returns the seconds that one took on average."""

ROUNDS = 15
BUDGET = 0.025  # seconds of each contender's round


class Missing(Exception):
    """A contender has no figure; the text says why."""


def calling(function: Callable[[], object]) -> Contender:
    """A contender that calls a function in this process."""

    def run(times: int) -> float:
        started = perf_counter()
        for _ in range(times):
            function()
        return (perf_counter() - started) / times

    return run


@dataclass(frozen=True)
class Spread:
    """Where the rounds' figures lie.

    Attributes:
        low, high: half of the rounds lie between them.
    """

    low: float
    median: float
    high: float


def spread(values: list[float]) -> Spread:
    """Of at least one value."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return Spread(low, middle, high)


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: what is measured.
        goal: the ratio of ours to the base that is aimed at, or "".
        base: the contender that ours is held against.
        rounds: by contender, the seconds of one call in each round.
        calls: by contender, how often the provider was asked in each round, where that counts.
        missing: by contender, why it has no figure.
        rate: the row is about calls a second.
    """

    name: str
    goal: str
    base: str
    rounds: dict[str, list[float]]
    calls: dict[str, list[int]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    rate: bool = False

    def seconds(self, who: str) -> float:
        """The median of one call."""
        return median(self.rounds[who])

    def ratio(self, who: str, to: str) -> Spread | None:
        """How many times as long somebody takes, over the rounds' own ratios; None where one of
        them has no figure.
        """
        if not {who, to} <= self.rounds.keys():
            return None
        pairs = zip(self.rounds[who], self.rounds[to], strict=True)
        return spread([mine / theirs for mine, theirs in pairs])


def calls_of_a_round(contender: Contender) -> int:
    """As many as BUDGET allows, by the quickest of three looks: one may fall into a pause."""
    seconds = min(contender(2) for _ in range(3))
    return max(2, min(1000, int(BUDGET / seconds)))


def race(
    name: str,
    goal: str,
    contenders: Mapping[str, Contender],
    *,
    base: str = "floor",
    rounds: int = 0,
    times: int = 0,
    rate: bool = False,
) -> Row:
    """Measure the contenders, "ours" among them.

    Args:
        rounds: ROUNDS if 0.
        times: calls of a round; as many as BUDGET allows if 0.

    Raises:
        Missing: ours has no figure.
    """
    missing: dict[str, str] = {}
    turns: dict[str, int] = {}
    for who, contender in contenders.items():
        try:
            contender(2)
            turns[who] = times or calls_of_a_round(contender)
        except Missing as error:
            missing[who] = str(error)
    taken: dict[str, list[float]] = {who: [] for who in turns}
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds or ROUNDS):
            names = list(taken)
            shift = number % len(names)
            for who in names[shift:] + names[:shift]:
                try:
                    taken[who].append(contenders[who](turns[who]))
                except Missing as error:
                    missing[who] = str(error)
                    del taken[who]
    finally:
        gc.enable()
    if "ours" in missing:
        raise Missing(f"{name}: {missing['ours']}")
    return Row(name, goal, base, taken, missing=missing, rate=rate)
