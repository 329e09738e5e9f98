"""Transactions that several processes make at once over the same rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from time import sleep
from typing import Final, TypeVar

from django.db import OperationalError, connections, models, transaction

T = TypeVar("T")

_TRIES: Final = 5
_CHOSEN: Final = frozenset({"40P01", "40001", 1213, 1205})
"""What PostgreSQL and MySQL call it when they end one of two transactions that wait for each other,
or that waited too long."""


def once(using: str, work: Callable[[], T]) -> T:
    """Do some work in a transaction, begun anew when the database has chosen it to give way.

    Within a transaction of the caller's it is done once: only that can be begun anew as a whole.

    Raises:
        DatabaseError: nothing was done.
    """
    tries = 1 if connections[using].in_atomic_block else _TRIES
    while True:
        tries -= 1
        try:
            with transaction.atomic(using=using):
                return work()
        except OperationalError as error:
            if tries <= 0 or not _gave_way(error):
                raise
        sleep(random.uniform(0.01, 0.1))  # noqa: S311


def _gave_way(error: OperationalError) -> bool:
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return (code or next(iter(error.args), None)) in _CHOSEN


def writes(table: type[models.Model], using: str) -> None:
    """To be said first in a transaction that reads before it writes: SQLite does not let it begin
    to write once another has written since.
    """
    if not connections[using].features.has_select_for_update:
        assert table._meta.pk is not None
        table._base_manager.using(using).filter(pk=0).update(**{table._meta.pk.name: 0})
