"""Answers a second, measured in short rounds that take turns, so that drift hits all alike."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter

SECONDS = 0.2
"""That a round within this process takes."""
_LEAST = 2
"""Answers of a round, however long a machine that does something else keeps them."""


@dataclass(frozen=True)
class Sample:
    """One contender's round.

    Attributes:
        rate: answers a second.
        median, slowest: seconds that half of the answers, and all but a hundredth of them, took at
            the most.
        processor: seconds of the servers' processor time for an answer; None if not measured.
    """

    rate: float
    median: float
    slowest: float
    processor: float | None = None


Contender = Callable[[], Sample]


@dataclass(frozen=True)
class Row:
    """Medians of one row of the table.

    Attributes:
        samples: by contender; "ours" is one of them.
        ratios: of the rate of "ours" to each other's, the median of the rounds' own ratios.
    """

    name: str
    samples: dict[str, Sample]
    ratios: dict[str, float]


def compete(name: str, contenders: Mapping[str, Contender], *, rounds: int) -> Row:
    """Measure the contenders, "ours" among them, over some rounds."""
    names = list(contenders)
    taken: dict[str, list[Sample]] = {who: [] for who in names}
    gc.collect()
    for number in range(rounds):
        shift = number % len(names)
        for who in names[shift:] + names[:shift]:
            taken[who].append(contenders[who]())
    pairs = {who: zip(taken["ours"], taken[who], strict=True) for who in names if who != "ours"}
    ratios = {who: median(mine.rate / theirs.rate for mine, theirs in pairs[who]) for who in pairs}
    return Row(name, {who: _middle(taken[who]) for who in names}, ratios)


def _middle(samples: Sequence[Sample]) -> Sample:
    processor = [sample.processor for sample in samples if sample.processor is not None]
    return Sample(
        rate=median(sample.rate for sample in samples),
        median=median(sample.median for sample in samples),
        slowest=median(sample.slowest for sample in samples),
        processor=median(processor) if processor else None,
    )


def _sample(taken: list[float], seconds: float) -> Sample:
    cuts = quantiles(taken, n=100)
    return Sample(rate=len(taken) / seconds, median=cuts[49], slowest=cuts[98])


def in_threads(function: Callable[[], object], number: int) -> Contender:
    """A contender that calls a function from so many threads at once."""

    def work(taken: list[float], end: float) -> None:
        begun = perf_counter()
        while begun < end or len(taken) < _LEAST:
            function()
            now = perf_counter()
            taken.append(now - begun)
            begun = now

    def run() -> Sample:
        taken: list[float] = []
        started = perf_counter()
        threads = [
            threading.Thread(target=work, args=(taken, started + SECONDS)) for _ in range(number)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return _sample(taken, perf_counter() - started)

    return run


def in_tasks(
    runner: asyncio.Runner, function: Callable[[], Awaitable[object]], number: int
) -> Contender:
    """A contender that awaits a function in so many tasks of one event loop at once."""

    async def work(taken: list[float], end: float) -> None:
        begun = perf_counter()
        while begun < end or len(taken) < _LEAST:
            await function()
            now = perf_counter()
            taken.append(now - begun)
            begun = now
            # What never waits would else keep the loop for one task alone.
            await asyncio.sleep(0)

    async def all_at_once() -> Sample:
        taken: list[float] = []
        started = perf_counter()
        await asyncio.gather(*(work(taken, started + SECONDS) for _ in range(number)))
        return _sample(taken, perf_counter() - started)

    return lambda: runner.run(all_at_once())
