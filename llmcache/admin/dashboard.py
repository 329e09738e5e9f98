"""The dashboard: what the cache did over a while, what it saved and how fast it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from llmcache import conf, stats
from llmcache.admin import charts, formats
from llmcache.admin.base import ReadOnlyAdmin
from llmcache.admin.charts import Chart, Series
from llmcache.stats import Figures
from llmcache.text import clean

PERIODS: Final = {
    "1": gettext_lazy("24 hours"),
    "7": gettext_lazy("7 days"),
    "30": gettext_lazy("30 days"),
    "90": gettext_lazy("90 days"),
}
FILTERS: Final = ("alias", "model", "namespace", "caller")


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure in large letters, with a line of explanation."""

    name: str
    value: str
    note: str = ""
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts; the first of each row is its heading."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


class DashboardAdmin(ReadOnlyAdmin):
    """Stands where the list of hourly figures would: nobody wants to read those one by one."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        period = request.GET.get("days", "1")
        period = period if period in PERIODS else "1"
        chosen = {name: clean(request.GET.get(name), 200) for name in FILTERS}
        end = timezone.now().astimezone(UTC)
        by_day = int(period) > 7
        start = end - timedelta(days=int(period)) + timedelta(hours=24 if by_day else 1)
        start = start.replace(hour=0, minute=0) if by_day else start
        rows = stats.selected(start, end=None, **chosen)
        over_time = stats.over_time(rows, start, end, by_day=by_day)
        speeds = stats.speeds(rows, by_day=by_day)
        figures = stats.total(part for _moment, part in over_time)
        # Of namespaces there may be one for every customer: the database adds them up by itself.
        groups = stats.by_each(rows, ("alias", "model", "caller"))
        groups["namespace"] = stats.by(rows, "namespace")
        context = self.page(
            request,
            _("Dashboard"),
            period=period,
            periods=PERIODS.items(),
            filters=[
                (name, _label(name), chosen[name], [value for value, _f in groups[name] if value])
                for name in FILTERS
            ],
            is_filtered=any(chosen.values()),
            is_empty=not figures.requests and not figures.lost,
            tiles=_tiles(figures, stats.percentiles(speeds)),
            charts=_charts(over_time, speeds, by_day),
            when=_when(by_day),
            tables=[_by(name, groups[name]) for name in FILTERS],
            aliases=list(conf.backends()),
            **(extra_context or {}),
        )
        return TemplateResponse(request, "admin/llmcache/dashboard.html", context)


def _when(by_day: bool) -> str:
    return _("by day, UTC") if by_day else _("by hour, UTC")


def _label(name: str) -> str:
    return {
        "alias": _("Store"),
        "model": _("Model"),
        "namespace": _("Namespace"),
        "caller": _("Caller"),
    }[name]


def _tiles(figures: Figures, speed: stats.Latencies) -> list[Tile]:
    saved = _("%(hits)s saved by hits, %(lookups)s spent on lookups") % {
        "hits": formats.money(figures.saved_cost),
        "lookups": formats.money(figures.lookup_cost),
    }
    tokens = _("%(cached)s of them the provider would have billed as cached") % {
        "cached": formats.count(figures.saved_cached_tokens)
    }
    asked = _("%(hits)s of %(asked)s that asked the cache") % {
        "hits": formats.count(figures.hits),
        "asked": formats.count(figures.hits + figures.misses),
    }
    spent = _("%(tokens)s tokens, %(cached)s of them cached by the provider") % {
        "tokens": formats.count(figures.tokens),
        "cached": formats.count(figures.cached_tokens),
    }
    requests = _("%(bypasses)s past the cache, %(failures)s failed") % {
        "bypasses": formats.count(figures.bypasses),
        "failures": formats.count(figures.failures),
    }
    median = _("a hit %(hit)s, a miss %(miss)s at the median") % {
        "hit": formats.seconds(speed.hit_p50),
        "miss": formats.seconds(speed.miss_p50),
    }
    tiles = [
        Tile(_("Requests"), formats.count(figures.requests), requests),
        Tile(_("Hit rate"), formats.share(figures.hit_rate), asked),
        Tile(_("Money saved"), formats.money(figures.net_saved), saved),
        Tile(_("Money spent"), formats.money(figures.cost), spent),
        Tile(_("Tokens saved"), formats.count(figures.saved_tokens), tokens),
        Tile(_("Waiting saved"), formats.seconds(figures.saved_seconds), median),
    ]
    if figures.unpriced:
        text = _("Calls of models without a price; name them in PRICING.")
        tiles.append(Tile(_("Unpriced calls"), formats.count(figures.unpriced), text, True))
    if figures.lost:
        text = _("Dropped before they were written: raise BUFFER_SIZE, or lower LOG_SAMPLE.")
        tiles.append(Tile(_("Lost records"), formats.count(figures.lost), text, True))
    return tiles


def _charts(
    over_time: Sequence[tuple[datetime, Figures]], speeds: stats.Speeds, by_day: bool
) -> list[tuple[Chart, Table]]:
    labels = [
        date_format(moment, "MONTH_DAY_FORMAT" if by_day else pgettext("date format", "j M H:i"))
        for moment, _figures in over_time
    ]
    figures = [part for _moment, part in over_time]
    fast = [stats.percentiles(speeds, moment) for moment, _figures in over_time]

    def series(name: str, css: str, value: Callable[[Any], float | None], of: Any) -> Series:
        return Series(name, css, [value(part) for part in of])

    requests = (
        series(_("hits"), "llmcache-hit", lambda f: f.hits, figures),
        series(_("misses"), "llmcache-miss", lambda f: f.misses, figures),
        series(_("bypasses"), "llmcache-bypass", lambda f: f.bypasses, figures),
        series(_("failures"), "llmcache-failed", lambda f: f.failures, figures),
    )
    rate = (series(_("hit rate"), "llmcache-hit", lambda f: f.hit_rate, figures),)
    money = (
        series(_("saved by hits"), "llmcache-hit", lambda f: f.saved_cost, figures),
        series(_("spent on answers"), "llmcache-miss", lambda f: f.cost, figures),
        series(_("spent on lookups"), "llmcache-bypass", lambda f: f.lookup_cost, figures),
    )
    waiting = (
        series(_("hit p50"), "llmcache-hit", lambda f: f.hit_p50, fast),
        series(_("hit p95"), "llmcache-hit-high", lambda f: f.hit_p95, fast),
        series(_("miss p50"), "llmcache-miss", lambda f: f.miss_p50, fast),
        series(_("miss p95"), "llmcache-miss-high", lambda f: f.miss_p95, fast),
    )
    wanted = (
        (charts.stacked_bars, _("Requests by outcome"), requests, formats.count),
        (charts.lines, _("Hit rate"), rate, formats.share),
        (charts.stacked_bars, _("Money"), money, formats.money),
        (charts.log_lines, _("Latency"), waiting, formats.seconds),
    )
    return [
        (
            draw(title, f"{title} {_when(by_day)}", labels, rows, show),
            _table(title, labels, rows, show),
        )
        for draw, title, rows, show in wanted
    ]


def _table(
    title: str, labels: Sequence[str], rows: Sequence[Series], show: Callable[[Any], str]
) -> Table:
    """The numbers of a chart; times without any are left out."""
    lines = [
        [label, *(show(row.values[i]) for row in rows)]
        for i, label in enumerate(labels)
        if any(row.values[i] for row in rows)
    ]
    return Table(title, [pgettext("moment", "Time"), *(row.name for row in rows)], lines[::-1])


def _by(name: str, groups: Sequence[tuple[str, Figures]]) -> Table:
    head = [_label(name), _("Requests"), _("Hit rate"), _("Saved"), _("Spent"), _("Tokens saved")]
    rows = [
        [
            formats.visible(value) or formats.MISSING,
            formats.count(figures.requests),
            formats.share(figures.hit_rate),
            formats.money(figures.net_saved),
            formats.money(figures.cost),
            formats.count(figures.saved_tokens),
        ]
        for value, figures in groups
        if figures.requests
    ]
    captions = {
        "alias": _("By store"),
        "model": _("By model"),
        "namespace": _("By namespace"),
        "caller": _("By caller"),
    }
    return Table(captions[name], head, rows)
