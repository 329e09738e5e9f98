"""Figures of hours made into figures of days once they are old, so that the table stays small."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import router
from django.db.models import F
from django.db.models.functions import TruncDay
from django.utils import timezone

from llmcache import conf, figures, transactions
from llmcache.figures import PLACE, SUMS
from llmcache.models import HourlyStat

_AT_A_TIME: Final = 500
_PLACE: Final = PLACE[1:]


def roll_up() -> int:
    """Make days of the hours older than RETENTION_DAYS; how many rows that spared.

    A day's row stands at its midnight, UTC. Sums are kept to the last token; a second run finds
    nothing to do.
    """
    today = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    oldest = today - timedelta(days=conf.config().retention_days)
    hours = HourlyStat.objects.filter(hour__lt=oldest)
    days = hours.annotate(day=TruncDay("hour", tzinfo=UTC)).exclude(hour=F("day"))
    found = sorted(days.values_list("day", flat=True).distinct())
    return sum(_roll_up_day(day) for day in found)


def _roll_up_day(day: datetime) -> int:
    using = router.db_for_write(HourlyStat)
    rows = HourlyStat.objects.using(using).between(day, day + timedelta(days=1))

    def work() -> int:
        transactions.writes(HourlyStat, using)
        # Locked, so that two workers at once don't both add up the same rows.
        hours = rows.select_for_update().order_by("pk").values_list("pk", *_PLACE, *SUMS)
        pks = []  # of a day, only these are held: it may have a row for every customer and hour
        sums: defaultdict[tuple[Any, ...], list[float]] = defaultdict(lambda: [0] * len(SUMS))
        for pk, *values in hours.iterator(chunk_size=_AT_A_TIME):
            pks.append(pk)
            so_far = sums[tuple(values[: len(_PLACE)])]
            for number, value in enumerate(values[len(_PLACE) :]):
                so_far[number] += value
        for start in range(0, len(pks), _AT_A_TIME):
            rows.filter(pk__in=pks[start : start + _AT_A_TIME]).delete()
        figures.add([(day, *place, *sums[place]) for place in sorted(sums)], using)
        return len(pks) - rows.count()

    return transactions.once(using, work)
