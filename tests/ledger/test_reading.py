"""No list of the admin reads a table to its end, whatever it is filtered and sorted by: neither to
find rows, nor to sort or count them. No batch of a sweep does either.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from llmcache import sweeping
from llmcache.admin import entry_history, paging, similar_pairs
from llmcache.admin.base import ReadOnlyAdmin
from llmcache.endpoint import limits
from llmcache.endpoint.maintaining import known_models
from llmcache.models import Call, Entry, Eviction, HourlyStat, MatchedPair
from llmcache.virtual_keys import Holder

ROWS = 3_000
PAGE = 5
MOST = 20
ENOUGH = 300
"""Rows that a query may read: those of some pages, or of a count that stops at MOST."""
ASKED_MOST = "e" * 64
LISTS = {
    Entry: (
        *("", "p=3", "o=7", "o=-7", "o=8", "o=-8", "o=2", "q=model-1", "q=model-none", "q=0000"),
        *("alias=default", "alias=none", "kind=completion", "kind=embedding", "kind=none"),
        *("model=model-1", "model=none", "namespace=space-1", "namespace=none"),
        *("state=live", "state=cold", "state=expired", "state=pinned", "alias=default&p=3"),
    ),
    Call: (
        *("", "p=3", "o=1", "o=-1", "o=2", "since=hour", "since=week", f"q={ASKED_MOST}"),
        *("outcome=hit", "outcome=failed", "outcome=stale", "alias=default", "alias=none"),
        *("model=model-1", "model=none", "kind=completion", "kind=embedding", "kind=none"),
        f"q={'f' * 64}",
    ),
    Eviction: ("", "p=3", "o=1", "since=day", "what=tag", "what=namespace", "what=scope"),
    MatchedPair: (
        *("", "p=3", "o=6", "since=day", "same=yes", "same=no", "same=open", "how=served"),
        *("how=shadow", "alias=default", "alias=none"),
    ),
}


def made() -> None:
    """Rows of which a few stand out by each thing that lists are filtered by."""
    now = timezone.now()
    moments = [now - timedelta(minutes=number) for number in range(ROWS)]

    def digest(number: int) -> str:
        return f"{number * 2654435761 % 2**32:08x}" * 8

    rare = range(0, ROWS, ROWS // 3)
    Entry.objects.bulk_create(
        Entry(
            alias="default",
            digest=digest(number),
            kind="embedding" if number in rare else "completion",
            model=f"model-{number % 4}",
            namespace=f"space-{number % 5}",
            size=1,
            created=at,
            kept_until=now + timedelta(hours=1) if number not in rare else now,
            pinned=number in rare,
        )
        for number, at in enumerate(moments)
    )
    # Half the calls ask one question, but none of the latest does.
    Call.objects.bulk_create(
        Call(
            created=at,
            outcome="failed" if number in rare else "hit",
            alias="default",
            digest=ASKED_MOST if number > ROWS // 2 else digest(number),
            kind="embedding" if number in rare else "completion",
            model=f"model-{number % 4}",
            latency=0.1,
        )
        for number, at in enumerate(moments)
    )
    Eviction.objects.bulk_create(
        Eviction(created=at, what="namespace" if number in rare else "tag")
        for number, at in enumerate(moments)
    )
    MatchedPair.objects.bulk_create(
        MatchedPair(
            seen=at,
            alias="default",
            pair=digest(number),
            digest=digest(number),
            similarity=0.9,
            how="shadow" if number in rare else "served",
            same={0: True, 1: False}.get(number // (ROWS // 3)) if number in rare else None,
        )
        for number, at in enumerate(moments)
    )


@pytest.fixture
def connection(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[BaseDatabaseWrapper]:
    """To a database with all those rows and up-to-date statistics."""
    # Small beside the tables, as they are beside big ones.
    for module in (paging, entry_history, similar_pairs):
        monkeypatch.setattr(module, "MOST", MOST)
    monkeypatch.setattr(entry_history, "_LOOKED_AT", PAGE)
    monkeypatch.setattr(ReadOnlyAdmin, "list_per_page", PAGE)
    made()
    yield connections[database]
    MatchedPair.objects.using(database).all().delete()


def counted(connection: BaseDatabaseWrapper) -> None:
    """Let the database count its rows, as it does by itself from time to time; and take an index
    where there is one: of a table of this size PostgreSQL may rather read all.
    """
    tables = "llmcache_entry, llmcache_call, llmcache_matchedpair, llmcache_eviction"
    tables += ", llmcache_hourlystat"
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE TABLE {tables}" if connection.vendor == "mysql" else "ANALYZE")
        cursor.fetchall() if connection.vendor == "mysql" else None
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")


def pages() -> Iterator[tuple[str, Any]]:
    """Every list in every way, and the page of the entry that was asked most."""
    user = User(pk=1, username="staff", is_active=True, is_staff=True, is_superuser=True)
    asked = Entry.objects.order_by("pk")[7]
    asked.digest = ASKED_MOST
    asked.save()
    for model, queries in LISTS.items():
        shown: Any = admin.site._registry[model]
        for query in queries:
            request = RequestFactory().get(f"/?{query}")
            request.user = user
            yield f"{model.__name__}?{query}", lambda r=request, s=shown: s.changelist_view(r)
    request = RequestFactory().get("/")
    request.user = user
    entries: Any = admin.site._registry[Entry]
    yield "entry", lambda: entries.change_view(request, str(asked.pk))


def too_much(connection: BaseDatabaseWrapper, captured: CaptureQueriesContext) -> list[str]:
    """Those queries that read more than they need, with what they read."""
    found = []
    for query in captured:
        if query["sql"].startswith("SELECT"):
            seen = READ[connection.vendor](connection, query["sql"])
            if seen:
                found.append(f"{seen}: {query['sql']}")
    return found


def test_no_list_reads_a_table_to_its_end(connection: BaseDatabaseWrapper) -> None:
    counted(connection)
    found = {}
    for name, page in pages():
        with CaptureQueriesContext(connection) as captured:
            response = page().render()
        assert response.status_code == 200, name
        found[name] = too_much(connection, captured)
    assert {name: queries for name, queries in found.items() if queries} == {}


def test_no_batch_of_a_sweep_reads_what_stays(connection: BaseDatabaseWrapper) -> None:
    """Pairs that somebody has decided on stay, however old they are: here most old ones."""
    old = timezone.now() - timedelta(days=40)
    oldest = list(MatchedPair.objects.order_by("seen").values_list("pk", flat=True)[: ROWS // 2])
    MatchedPair.objects.filter(pk__in=oldest).update(seen=F("seen") - timedelta(days=50), same=True)
    MatchedPair.objects.filter(pk__in=oldest[:20]).update(seen=old, same=None)
    Entry.objects.filter(kind="embedding").update(kept_until=old)
    Call.objects.filter(kind="embedding").update(created=old)
    Eviction.objects.filter(what="namespace").update(created=old)
    counted(connection)
    with CaptureQueriesContext(connection) as captured:
        swept = sweeping.sweep(10, aliases=())
    assert (swept.index, swept.log) == (3, 3 + 3 + 10)
    assert too_much(connection, captured) == []


def test_the_figures_of_one_caller_are_found_among_all(
    connection: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    HourlyStat.objects.bulk_create(
        HourlyStat(hour=hour - timedelta(hours=n // 100), caller=f"key:{n}", outcome="hit", cost=1)
        for n in range(ROWS)
    )
    counted(connection)
    with CaptureQueriesContext(connection) as captured:
        assert limits.recorded(Holder(name="2", scope=None), hour - timedelta(days=30)) == 1
        assert known_models(Holder(name="2", scope=None)) == []
    assert too_much(connection, captured) == []


# --- what a query reads ---


def _on_sqlite(connection: BaseDatabaseWrapper, sql: str) -> str:
    """SQLite tells no numbers, but what it will do."""
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN QUERY PLAN " + sql.replace("%", "%%"))
        steps = [row[3] for row in cursor.fetchall()]
    found_first = any(step.startswith("SEARCH") for step in steps)
    for step in steps:
        if step.startswith("SCAN llmcache_") and "INDEX" not in step and "LIMIT" not in sql:
            return step
        if "B-TREE FOR ORDER BY" in step and not ("digest" in sql and found_first):
            return step
    equal = any(f'."{name}" = ' in sql for name in ("alias", "kind", "model", "outcome", "what"))
    return "" if found_first or not equal else "; ".join(steps)


def _on_postgres(connection: BaseDatabaseWrapper, sql: str) -> int:
    def read(node: dict[str, Any]) -> float:
        below = sum(read(child) for child in node.get("Plans", ()))
        if "Relation Name" not in node:
            return below
        rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        return float(below + rows * node["Actual Loops"])

    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + sql.replace("%", "%%"))
        (plan,) = cursor.fetchone()
    number = read((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
    return int(number) if number > ENOUGH else 0


def _on_mariadb(connection: BaseDatabaseWrapper, sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("FLUSH STATUS")
        cursor.execute(sql.replace("%", "%%"))
        cursor.fetchall()
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        number = sum(int(value) for _, value in cursor.fetchall())
    return number if number > ENOUGH else 0


READ = {"sqlite": _on_sqlite, "postgresql": _on_postgres, "mysql": _on_mariadb}
