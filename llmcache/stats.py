"""Figures for people: how many calls, how many hits, what that saved, how fast.

All of it comes from the hours' figures (`HourlyStat`), never from the log, so a page costs the same
for a thousand calls and for a billion. Times are UTC. Money is in the price table's currency.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import TruncDay
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from llmcache.models import HourlyStat
from llmcache.outcome import BYPASS, ERROR, FAILED, MISS, OUTCOMES, SERVED
from llmcache.querysets import LOST
from llmcache.speeds import percentile

HITS: Final = tuple(each for each in OUTCOMES if each in SERVED)
MISSES: Final = (MISS, ERROR)
GROUPS: Final = ("alias", "kind", "model", "namespace", "caller", "outcome")


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums over some calls.

    Attributes:
        requests: all calls; `hits`, `misses`, `bypasses` and `failures` add up to it.
        lost: records that never reached the database; not among the requests.
        tokens, cached_tokens: paid for; of the input, how much the provider billed as cached.
        saved_tokens, saved_cached_tokens: not paid for, because of hits.
        cost: paid for the calls; `saved_cost` not paid, because of hits.
        lookup_cost: paid for embeddings that only served to look answers up.
        unpriced: calls of models without a price; their cost is in none of the sums.
        saved_seconds: time that callers did not wait.
    """

    requests: int = 0
    hits: int = 0
    misses: int = 0
    bypasses: int = 0
    failures: int = 0
    lost: int = 0
    tokens: int = 0
    cached_tokens: int = 0
    saved_tokens: int = 0
    saved_cached_tokens: int = 0
    cost: float = 0.0
    saved_cost: float = 0.0
    lookup_cost: float = 0.0
    unpriced: int = 0
    saved_seconds: float = 0.0

    @property
    def hit_rate(self) -> float | None:
        """Share of hits among the calls that asked the cache; None when none did."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None

    @property
    def net_saved(self) -> float:
        """Money saved by hits, less what looking them up cost."""
        return self.saved_cost - self.lookup_cost


@dataclass(frozen=True, slots=True)
class Latencies:
    """p50 and p95 of the calls' latency in seconds; None where there were no calls."""

    hit_p50: float | None
    hit_p95: float | None
    miss_p50: float | None
    miss_p95: float | None


def selected(start: datetime, end: datetime | None = None, **filters: Any) -> QuerySet[HourlyStat]:
    """The figures of a time, from the hour that `start` lies in.

    Args:
        end: now, if not given.
        filters: values of GROUPS; an empty one does not filter.
    """
    first = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    rows = HourlyStat.objects.between(first, end or timezone.now() + timedelta(hours=1))
    return rows.filter(**{name: value for name, value in filters.items() if value})


def _sum(name: str, outcomes: Sequence[str] | None = None) -> Sum:
    return Sum(name, filter=Q(outcome__in=outcomes) if outcomes else None, default=0)


def _sums() -> dict[str, Any]:
    return {
        "hits_sum": _sum("calls", HITS),
        "misses_sum": _sum("calls", MISSES),
        "bypasses_sum": _sum("calls", (BYPASS,)),
        "failures_sum": _sum("calls", (FAILED,)),
        "lost_sum": _sum("calls", (LOST,)),
        "input_sum": _sum("input_tokens"),
        "output_sum": _sum("output_tokens"),
        "cached_sum": _sum("cached_tokens"),
        "saved_input_sum": _sum("saved_input_tokens"),
        "saved_output_sum": _sum("saved_output_tokens"),
        "saved_cached_sum": _sum("saved_cached_tokens"),
        "cost_sum": _sum("cost"),
        "saved_cost_sum": _sum("saved_cost"),
        "lookup_cost_sum": _sum("lookup_cost"),
        "unpriced_sum": _sum("unpriced"),
        "saved_seconds_sum": _sum("saved_seconds"),
    }


def _figures(row: dict[str, Any]) -> Figures:
    hits, misses, bypasses = row["hits_sum"], row["misses_sum"], row["bypasses_sum"]
    return Figures(
        requests=hits + misses + bypasses + row["failures_sum"],
        hits=hits,
        misses=misses,
        bypasses=bypasses,
        failures=row["failures_sum"],
        lost=row["lost_sum"],
        tokens=row["input_sum"] + row["output_sum"],
        cached_tokens=row["cached_sum"],
        saved_tokens=row["saved_input_sum"] + row["saved_output_sum"],
        saved_cached_tokens=row["saved_cached_sum"],
        cost=row["cost_sum"],
        saved_cost=row["saved_cost_sum"],
        lookup_cost=row["lookup_cost_sum"],
        unpriced=row["unpriced_sum"],
        saved_seconds=row["saved_seconds_sum"],
    )


def summary(rows: QuerySet[HourlyStat]) -> Figures:
    """All selected rows in one. One query."""
    return _figures(rows.aggregate(**_sums()))


def total(figures: Iterable[Figures]) -> Figures:
    """Several figures in one."""
    names = [part.name for part in fields(Figures)]
    sums = dict.fromkeys(names, 0)
    for one in figures:
        for name in names:
            sums[name] += getattr(one, name)
    return Figures(**sums)


def over_time(
    rows: QuerySet[HourlyStat], start: datetime, end: datetime, *, by_day: bool = False
) -> list[tuple[datetime, Figures]]:
    """The selected rows by hour or by day, hours and days without calls included. One query."""
    known: defaultdict[datetime, list[Figures]] = defaultdict(list)
    for row in rows.values(at=_at(rows, by_day)).annotate(**_sums()).order_by():
        known[_moment(row["at"], by_day)].append(_figures(dict(row)))
    step = timedelta(days=1) if by_day else timedelta(hours=1)
    at = _moment(start.astimezone(UTC), by_day)
    result = []
    while at < end:
        result.append((at, total(known[at])))
        at += step
    return result


class _Day(TruncDay):
    """Midnight, UTC, on databases that keep times in UTC."""

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, Any]:
        sql, parameters = compiler.compile(self.lhs)  # Django's own calls Python for each row
        return f"substr({sql}, 1, 10) || ' 00:00:00'", parameters


def _at(rows: QuerySet[HourlyStat], by_day: bool) -> Any:
    """The hour of a row, or the day that it lies in, where the database can tell that by itself."""
    in_utc = connections[rows.db].timezone_name == "UTC"
    return _Day("hour", tzinfo=UTC) if by_day and in_utc else F("hour")


def _moment(at: datetime, by_day: bool) -> datetime:
    at = at.astimezone(UTC)
    return at.replace(hour=0 if by_day else at.hour, minute=0, second=0, microsecond=0)


def by(rows: QuerySet[HourlyStat], group: str, limit: int = 20) -> list[tuple[str, Figures]]:
    """The selected rows by one of GROUPS, those with the most calls first. One query."""
    assert group in GROUPS
    answered = rows.exclude(outcome=LOST)
    found = answered.values(group).annotate(number=Sum("calls"), **_sums()).order_by("-number")
    return [(row[group], _figures(row)) for row in found[:limit]]


def by_each(
    rows: QuerySet[HourlyStat], groups: Sequence[str], limit: int = 20
) -> dict[str, list[tuple[str, Figures]]]:
    """As `by` for several of GROUPS that have few values. One query for all of them."""
    found = rows.exclude(outcome=LOST).values(*groups).annotate(**_sums()).order_by()
    parts: dict[str, defaultdict[str, list[Figures]]] = {name: defaultdict(list) for name in groups}
    for row in found:
        for name in groups:
            parts[name][row[name]].append(_figures(dict(row)))
    return {
        name: sorted(
            ((value, total(figures)) for value, figures in values.items()),
            key=lambda one: one[1].requests,
            reverse=True,
        )[:limit]
        for name, values in parts.items()
    }


Speeds = Mapping[tuple[datetime, str], Mapping[int, int]]
"""How many calls fell on each step of `llmcache.speeds`, by moment and by "hit" or "miss"."""


def speeds(rows: QuerySet[HourlyStat], *, by_day: bool = False) -> Speeds:
    """How fast hits and misses were, by hour or by day. One query."""
    asked = rows.filter(outcome__in=(*HITS, *MISSES)).values("outcome", "speed")
    found = asked.annotate(at=_at(rows, by_day), number=Sum("calls")).order_by()
    histograms: defaultdict[tuple[datetime, str], Counter[int]] = defaultdict(Counter)
    for row in found:
        side = "hit" if row["outcome"] in HITS else "miss"
        histograms[_moment(row["at"], by_day), side][row["speed"]] += row["number"]
    return histograms


def latencies(rows: QuerySet[HourlyStat]) -> Latencies:
    """Percentiles of how long hits and misses took. One query."""
    return percentiles(speeds(rows))


def percentiles(found: Speeds, moment: datetime | None = None) -> Latencies:
    """Percentiles of all the calls, or of those of one moment."""
    sides: dict[str, Counter[int]] = {"hit": Counter(), "miss": Counter()}
    for (at, side), histogram in found.items():
        if moment is None or at == moment:
            sides[side].update(histogram)
    hit, miss = list(sides["hit"].items()), list(sides["miss"].items())
    return Latencies(
        hit_p50=percentile(hit, 0.5),
        hit_p95=percentile(hit, 0.95),
        miss_p50=percentile(miss, 0.5),
        miss_p95=percentile(miss, 0.95),
    )
