"""Latencies on a scale of whole numbers, so that figures of hours can be added up and still give
percentiles: two steps of the scale are a factor of two.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, log2
from typing import Final

_STEPS: Final = 2
_LARGEST: Final = 80


def speed_of(seconds: float) -> int:
    """The step of a latency, rounded up: 0 for a microsecond and less, 20 for a millisecond."""
    microseconds = seconds * 1e6
    if microseconds <= 1:
        return 0
    return min(_LARGEST, ceil(_STEPS * log2(microseconds)))


def seconds_at(speed: float) -> float:
    """The latency at a step, in seconds; fractions of a step are allowed."""
    return float(2 ** (speed / _STEPS)) / 1e6


def percentile(histogram: Iterable[tuple[int, int]], share: float) -> float | None:
    """The latency in seconds that so large a share of the calls did not exceed.

    Args:
        histogram: pairs of a step and how many calls fell on it.
        share: 0 to 1; 0.5 is the median.

    Returns:
        None when there were no calls. Within a step, calls are taken as evenly spread.
    """
    steps = sorted((step, number) for step, number in histogram if number > 0)
    wanted = share * sum(number for _, number in steps)
    passed = 0
    for step, number in steps:
        if passed + number >= wanted:
            return seconds_at(step - 1 + (wanted - passed) / number)
        passed += number
    return None
