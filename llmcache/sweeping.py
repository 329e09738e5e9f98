"""A whole sweep, batch by batch: `maintenance.sweep` until nothing is left that has expired."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import count
from typing import Final

from django.utils import timezone

from llmcache import conf
from llmcache.maintenance import Swept, sweep
from llmcache.models import Call, Entry, Eviction, RecordBatch

BATCH: Final = 1000


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
    old = timezone.now() - timedelta(days=conf.config().retention_days)
    log = (
        Call.objects.before(old).count()
        + Eviction.objects.operations().filter(created__lt=old).count()
        + RecordBatch.objects.filter(created__lt=old).count()
    )
    return Entry.objects.expired().count(), log
