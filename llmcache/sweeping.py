"""Deletes what has expired from the stores that need it, the index and the logs, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any, Final

from django.db.models import QuerySet
from django.utils import timezone

from llmcache import conf
from llmcache.backends import stores
from llmcache.invalidation import database
from llmcache.models import Call, Entry, Eviction, MatchedPair, RecordBatch

BATCH: Final = 1000
_AT_A_TIME: Final = 500


@dataclass(slots=True)
class Swept:
    """What a sweep removed: entries of stores by alias, rows of the index, rows of the logs."""

    stores: dict[str, int] = field(default_factory=dict)
    index: int = 0
    log: int = 0
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.stores.values()) + self.index + self.log


def sweep(limit: int = BATCH, *, aliases: Iterable[str] | None = None) -> Swept:
    """Delete what has expired, at most `limit` of each kind; call again while `total` is not 0.

    Stores that collect their own garbage have nothing to delete. The log loses rows older than
    RETENTION_DAYS; evictions are kept as long, and at least for a day.
    """
    swept = Swept()
    for alias in stores if aliases is None else aliases:
        try:
            number = stores[alias].sweep(limit)
        except Exception as error:
            swept.problems[alias] = f"{type(error).__name__}: {error}"
            continue
        if number:
            swept.stores[alias] = number
    expired = Entry.objects.using(database()).expired().order_by("kept_until")
    pks = list(expired.values_list("pk", flat=True)[:limit])
    for start in range(0, len(pks), _AT_A_TIME):
        # Asked again, as some may have been renewed meanwhile.
        part = Entry.objects.filter(pk__in=pks[start : start + _AT_A_TIME]).expired()
        swept.index += part.drop()
    for rows in _old_rows():
        found = list(rows.values_list("pk", flat=True)[:limit])
        rows.model._default_manager.filter(pk__in=found).delete()
        swept.log += len(found)
    return swept


def sweep_all(
    limit: int = BATCH, *, batches: int | None = None, aliases: Sequence[str] | None = None
) -> Iterator[Swept]:
    """Delete what has expired, and yield what each batch deleted.

    A store that fails is left alone in the batches that follow.

    Args:
        limit: how much of each kind at a time.
        batches: how many at most; None for no limit.
        aliases: the stores; None for all.
    """
    healthy = list(conf.backends() if aliases is None else aliases)
    for number in count():
        if number == batches:
            return
        swept = sweep(limit, aliases=healthy)
        yield swept
        healthy = [alias for alias in healthy if alias not in swept.problems]
        if not swept.total:
            return


def total(parts: Iterator[Swept]) -> Swept:
    """Several batches as one."""
    done = Swept()
    for part in parts:
        for alias, number in part.stores.items():
            done.stores[alias] = done.stores.get(alias, 0) + number
        done.index += part.index
        done.log += part.log
        done.problems |= part.problems
    return done


def expired_rows() -> tuple[int, int]:
    """How many rows of the index and of the logs a sweep would delete now."""
    log = sum(rows.count() for rows in _old_rows())
    return Entry.objects.expired().count(), log


def _old_rows() -> list[QuerySet[Any]]:
    """The rows of the logs past RETENTION_DAYS, the oldest first. Pairs that somebody has decided
    on are no log: they stay.
    """
    old = timezone.now() - timedelta(days=conf.config().retention_days)
    return [
        Call.objects.before(old).order_by("created"),
        Eviction.objects.operations().filter(created__lt=old).order_by("created"),
        RecordBatch.objects.filter(created__lt=old).order_by("created"),
        MatchedPair.objects.undecided().filter(seen__lt=old).order_by("same", "seen"),
    ]
