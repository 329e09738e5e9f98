"""How often an entry has answered, by day, and its last calls: read from the log, of which a much
asked entry may fill most.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db.models import Count, Sum
from django.db.models.functions import TruncDay
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from llmcache import conf
from llmcache.admin import charts, formats
from llmcache.admin.paging import MOST
from llmcache.models import Call, Entry
from llmcache.outcome import HIT, STALE
from llmcache.outcome_names import named
from llmcache.querysets import CallQuerySet

_DAYS: Final = 30
_LAST: Final = 10
_LOOKED_AT: Final = 100
"""Calls among which the last ones are looked for: those under another alias are not the entry's."""


def history(entry: Entry) -> dict[str, Any]:
    """The entry's hits by day as a chart and a table, and its last calls, for the template."""
    days = min(_DAYS, conf.config().retention_days)
    today = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = today - timedelta(days=days - 1)
    calls = Call.objects.latest_of_entry(entry.digest)
    latest = list(calls[:_LOOKED_AT])
    beyond = list(calls.values_list("created", flat=True)[MOST : MOST + 1])
    hits = calls.since(first).filter(outcome__in=(HIT, STALE), alias=entry.alias)
    hits = hits.filter(created__gt=beyond[0]) if beyond else hits
    hits = hits.filter(created__lte=latest[0].created) if latest else hits.none()
    last = [call for call in latest if call.alias == entry.alias][:_LAST]
    return {
        **_by_day(hits, [first + timedelta(days=number) for number in range(days)]),
        "most_calls": formats.count(MOST) if beyond and beyond[0] >= first else "",
        "last_calls": [
            (
                date_format(timezone.localtime(call.created), "DATETIME_FORMAT"),
                call.outcome,
                named(call.outcome),
                formats.visible(call.caller) or formats.MISSING,
                formats.seconds(call.latency),
            )
            for call in last
        ],
    }


def _by_day(hits: CallQuerySet, days: list[datetime]) -> dict[str, Any]:
    rows = hits.order_by().annotate(day=TruncDay("created", tzinfo=UTC)).values("day")
    found = {row["day"]: row for row in rows.annotate(number=Count("pk"), saved=Sum("saved_cost"))}
    numbers = Counter({day: row["number"] for day, row in found.items()})
    chart = charts.stacked_bars(
        _("Hits by day"),
        _("How often this entry has answered, on each of the last days."),
        [date_format(day, "MONTH_DAY_FORMAT") for day in days],
        [charts.Series(_("hits"), "llmcache-hit", [numbers[day] for day in days])],
        formats.count,
    )
    table = [
        (
            date_format(day, "DATE_FORMAT"),
            formats.count(row["number"]),
            formats.money(row["saved"]),
        )
        for day, row in sorted(found.items(), reverse=True)
    ]
    return {"chart": chart, "hits_table": table}
