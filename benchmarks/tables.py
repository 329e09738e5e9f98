"""Big tables on a real PostgreSQL: rows as a busy site has them, and how the admin's pages and the
tasks fare over them. Imports nothing that needs Django to be set up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from statistics import median
from time import perf_counter
from typing import Any, Final

ASKED_MOST: Final = "encode(sha256('most'::bytea), 'hex')"
"""The digest, as SQL, of the entry that a fifth of the calls asked, all of them the older ones."""


def fill(entries: int, calls: int, *, have: int = 0) -> None:
    """Add rows, made by the database itself.

    Args:
        entries, calls: how many there are to be.
        have: how many of each there are already, by an earlier call.
    """
    from django.db import connection

    started = perf_counter()
    with connection.cursor() as cursor:
        for statement in (
            _ENTRIES.format(first=have + 1, last=entries, most=ASKED_MOST),
            _TAGS.format(first=have + 1, last=entries),
            _CALLS.format(first=have + 1, last=calls, entries=entries, most=ASKED_MOST),
            _PAIRS.format(first=have + 1, last=entries),
            _EVICTIONS.format(first=have // 10 + 1, last=entries // 10),
            *(() if have else (_STATS.format(hours=2160 if entries >= 1000 else entries),)),
        ):
            cursor.execute(statement)
        cursor.execute("VACUUM ANALYZE")
    print(f"{entries:,} entries and {calls:,} calls made in {perf_counter() - started:.0f} s")


# One entry in 50,000 is of another call type, one in 100,000 of another store, and so on: what a
# list is filtered by may be rare.
_ENTRIES: Final = """
INSERT INTO llmcache_entry (alias, digest, kind, model, namespace, scope, preview, material, size,
    input_tokens, output_tokens, cached_tokens, upstream_seconds, created, expires, kept_until,
    hits, pinned)
SELECT CASE WHEN i % 100000 = 900 THEN 'archive' ELSE 'default' END,
    CASE WHEN i = 7 THEN {most} ELSE encode(sha256(('e' || i)::bytea), 'hex') END,
    CASE WHEN i % 50000 = 700 THEN 'embedding' ELSE 'completion' END, 'model-' || i % 12,
    'space-' || i % 40, '', 'What is the answer to question ' || i, '{{"kind": "completion"}}',
    2000, 300, 200, 0, 0.9, now() - i * interval '5 seconds', now() + interval '1 day',
    now() + (i % 200 + 1) * interval '1 hour', i % 50, i % 1000 = 0
FROM generate_series({first}, {last}) i"""
_TAGS: Final = """
INSERT INTO llmcache_entrytag (entry_id, name)
SELECT e.id, 'product:' || i % 1000
FROM generate_series({first}, {last}) i
JOIN llmcache_entry e ON e.digest = encode(sha256(('e' || i)::bytea), 'hex')"""
_CALLS: Final = """
INSERT INTO llmcache_call (created, outcome, reason, alias, digest, kind, model, namespace, scope,
    caller, layer, streamed, latency, upstream_seconds, age, input_tokens, output_tokens,
    cached_tokens, saved_input_tokens, saved_output_tokens, saved_cached_tokens, lookup_cost)
SELECT now() - j * interval '2.5 seconds', CASE WHEN j % 50000 = 300 THEN 'failed'
        ELSE (ARRAY['hit','hit','miss','bypass'])[j % 4 + 1] END, '', 'default',
    CASE WHEN j % 5 = 0 AND j > 99 THEN {most}
        ELSE encode(sha256(('e' || j % {entries})::bytea), 'hex') END,
    'completion', 'model-' || j % 12, 'space-' || j % 40, '', 'caller-' || j % 5, 'default', false,
    0.0001, 0.9, 10, 300, 200, 0, 0, 0, 0, 0
FROM generate_series({first}, {last}) j"""
_PAIRS: Final = """
INSERT INTO llmcache_matchedpair (created, seen, alias, pair, digest, model, asked, stored, whole,
    similarity, how, times, same, decided_by)
SELECT now() - i * interval '3 seconds', now() - i * interval '2 seconds', 'default',
    encode(sha256(('p' || i)::bytea), 'hex'), encode(sha256(('e' || i)::bytea), 'hex'),
    'model-' || i % 12, 'How is question ' || i || ' answered?', 'What answers question ' || i,
    true, 0.7 + i % 300 / 1000.0, (ARRAY['served','served','audit'])[i % 3 + 1], 1,
    CASE WHEN i % 3 = 2 THEN i % 50 > 0 END, CASE WHEN i % 3 = 2 THEN 'audit' ELSE '' END
FROM generate_series({first}, {last}) i"""
_EVICTIONS: Final = """
INSERT INTO llmcache_eviction (created, what, alias, value, digests, number, reason, by)
SELECT now() - i * interval '25 seconds', (ARRAY['entries','tag','tag'])[i % 3 + 1], '',
    'product:' || i, '', 3, '', 'staff'
FROM generate_series({first}, {last}) i"""
_STATS: Final = """
INSERT INTO llmcache_hourlystat (hour, alias, kind, model, namespace, caller, outcome, speed, calls,
    input_tokens, output_tokens, cached_tokens, saved_input_tokens, saved_output_tokens,
    saved_cached_tokens, cost, saved_cost, lookup_cost, unpriced, seconds, saved_seconds)
SELECT date_trunc('hour', now()) - h * interval '1 hour', 'default', 'completion', 'model-' || m,
    'space-' || s, 'caller', o, p, 20, 300, 200, 0, 300, 200, 0, 0.1, 0.2, 0, 0, 0.5, 10
FROM generate_series(1, {hours}) h, generate_series(0, 2) m, generate_series(0, 3) s,
    unnest(ARRAY['hit','miss']) o, generate_series(14, 15) p"""


def pages(rounds: int = 5, only: Collection[str] = ()) -> dict[str, dict[str, float]]:
    """Queries and milliseconds of every page of the admin, or only of some."""
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    users = get_user_model()._default_manager
    user = users.filter(username="staff").first() or users.create_superuser("staff", "", "staff")
    client = Client()
    client.force_login(user)
    figures = {}
    print(f"{'page':<34} {'queries':>8} {'ms':>8} {'ms in SQL':>10}")
    for name, get in _addresses(client).items():
        if only and name not in only:
            continue
        get()
        times, in_sql = [], []
        for _ in range(rounds):
            with CaptureQueriesContext(connection) as captured:
                started = perf_counter()
                response = get()
                times.append((perf_counter() - started) * 1e3)
            assert response.status_code == 200, (name, response.status_code)
            in_sql.append(sum(float(query["time"]) for query in captured) * 1e3)
        row = {"queries": len(captured), "ms": median(times), "sql_ms": median(in_sql)}
        figures[name] = row
        print(
            f"{name:<34} {row['queries']:>8} {row['ms']:>8.0f} {row['sql_ms']:>10.0f}", flush=True
        )
    return figures


def _addresses(client: Any) -> Mapping[str, Callable[[], Any]]:
    from llmcache.models import Call, Entry, Eviction, MatchedPair

    def first(model: Any) -> Any:
        return list(model._default_manager.order_by("pk")[:50])[-1]

    base, most = "/admin/llmcache", Entry.objects.get(digest=_digest_of("most"))
    entry, call, pair, eviction = map(first, (Entry, Call, MatchedPair, Eviction))
    asked = json.dumps({"model": "model-1", "messages": [{"role": "user", "content": "hello"}]})
    form = {"kind": "completion", "alias": "default", "request": asked}
    last = max(1, min(199, Entry.objects.count() // 50, Call.objects.count() // 50))
    pages: dict[str, str] = {
        "dashboard, 24 hours": "hourlystat/?days=1",
        "dashboard, 90 days": "hourlystat/?days=90",
        "entries": "entry/",
        "entries, the last page": f"entry/?p={last}",
        "entries by their end": "entry/?o=8",
        "entries of a model": "entry/?model=model-3",
        "entries of no such model": "entry/?model=none",
        "entries of a store": "entry/?alias=default",
        "entries of a store with few": "entry/?alias=archive",
        "entries of a namespace": "entry/?namespace=space-7",
        "entries of a rare call type": "entry/?kind=embedding",
        "entries that are live": "entry/?state=live",
        "entries that are cold": "entry/?state=cold",
        "entries that are pinned": "entry/?state=pinned",
        "entries by a digest's beginning": f"entry/?q={entry.digest[:6]}",
        "one entry": f"entry/{entry.pk}/change/",
        "the entry that was asked most": f"entry/{most.pk}/change/",
        "evict all that match: of a model": "entry/evict-matching/?model=model-3",
        "evict all that match: of a store": "entry/evict-matching/?alias=default",
        "calls": "call/",
        "calls, the last page": f"call/?p={last}",
        "calls of an entry": f"call/?q={entry.digest}",
        "calls of the entry asked most": f"call/?q={most.digest}",
        "calls that missed": "call/?outcome=miss",
        "calls that failed": "call/?outcome=failed",
        "one call": f"call/{call.pk}/change/",
        "evictions": "eviction/",
        "evictions of a namespace": "eviction/?what=namespace",
        "one eviction": f"eviction/{eviction.pk}/change/",
        "similar pairs": "matchedpair/",
        "similar pairs that are wrong": "matchedpair/?same=no",
        "one similar pair": f"matchedpair/{pair.pk}/change/",
        "stores": "hourlystat/stores/",
    }

    def getting(path: str) -> Callable[[], Any]:
        return lambda: client.get(f"{base}/{path}")

    found = {name: getting(path) for name, path in pages.items()}
    return {**found, "explain": lambda: client.post(f"{base}/hourlystat/explain/", form)}


def _digest_of(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()


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
