"""What a key may do: so many requests a minute, so much money a day or a month.

The counts are in one of Django's caches, which all processes share if it is a shared one. A cache
that fails lets calls through and is counted: the endpoint is there to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from time import time
from typing import Any, Final, TypeVar

from asgiref.sync import sync_to_async
from django.core.cache import caches
from django.db.models import Sum

from llmcache import conf, events
from llmcache.calls import Call
from llmcache.endpoint.errors import Refused
from llmcache.models import HourlyStat
from llmcache.pricing import cost_of
from llmcache.usage import Usage
from llmcache.virtual_keys import Holder, Period

T = TypeVar("T")
_MICRO: Final = 1_000_000
"""Money is counted in millionths, as counters are whole numbers."""
_LASTS: Final = {Period.DAY: 86400 * 2, Period.MONTH: 86400 * 32, Period.TOTAL: 86400 * 32}


def _cache() -> Any:
    return caches[conf.config().endpoint_cache]


def _spared(step: Callable[[], T], otherwise: T) -> T:
    """What a step gives, or something else if the cache fails."""
    try:
        return step()
    except Refused:
        raise
    except Exception as error:
        events.warn_once("limit_error", "The limits of keys cannot be counted: %s", error)
        return otherwise


def admit(holder: Holder) -> None:
    """Count a request.

    Raises:
        Refused: it is one too many, or the budget is spent.
    """
    if holder.requests_per_minute is not None:
        _spared(lambda: _count_request(holder), None)
    if holder.budget is not None and _spared(lambda: spent(holder), 0.0) >= holder.budget:
        raise Refused(
            429,
            f"The budget of this key is spent ({holder.budget:g} for {holder.budget_period}).",
            "insufficient_quota",
            {"x-should-retry": "false"},
        )


async def aadmit(holder: Holder) -> None:
    """As `admit`; waits for the cache in a thread, and for nothing where there are no limits."""
    if holder.requests_per_minute is not None or holder.budget is not None:
        await sync_to_async(admit, thread_sensitive=False)(holder)


def _count_request(holder: Holder) -> None:
    now = time()
    minute = int(now // 60)
    key = f"{_place(holder)}:minute:{minute}"
    cache = _cache()
    cache.add(key, 0, 120)
    number = cache.incr(key)
    most = holder.requests_per_minute
    if most is not None and number > most:
        wait = max(1, round((minute + 1) * 60 - now))
        raise Refused(
            429,
            f"More than {most} requests in a minute; try again in {wait} s.",
            "rate_limit_exceeded",
            {"Retry-After": str(wait)},
        )


def _place(holder: Holder) -> str:
    # A key may have the name of one that was deleted.
    own = "" if holder.pk is None else f":{holder.pk}"
    # Hashed, as a name may have what a cache's key must not: memcached takes no spaces.
    named = f"{holder.caller}{own}".encode("utf-8", "surrogatepass")
    return f"llmcache:endpoint:{blake2b(named, digest_size=16).hexdigest()}"


def _period(holder: Holder) -> tuple[str, datetime | None]:
    """The name of the running period, and its start."""
    now = datetime.now(UTC)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if holder.budget_period == Period.DAY:
        return f"{day:%Y-%m-%d}", day
    if holder.budget_period == Period.MONTH:
        return f"{day:%Y-%m}", day.replace(day=1)
    return "total", None


def _spent_key(holder: Holder) -> tuple[str, datetime | None]:
    name, start = _period(holder)
    return f"{_place(holder)}:spent:{name}", start


def spent(holder: Holder) -> float:
    """Money spent in the running period: a count that begins with what the ledger knows."""
    key, start = _spent_key(holder)
    cache = _cache()
    found = cache.get(key)
    if found is None:
        found = round(recorded(holder, start) * _MICRO)
        cache.add(key, found, _LASTS[Period(holder.budget_period)])
    return float(found) / _MICRO


def spent_if_known(holder: Holder) -> float | None:
    """As `spent`; None while cache or database fail."""
    return _spared(lambda: spent(holder), None)


def recorded(holder: Holder, start: datetime | None) -> float:
    """Money that the ledger knows a holder has spent since then."""
    rows = HourlyStat.objects.filter(caller=holder.caller)
    if holder.since is not None:  # a deleted key may have had the name
        rows = rows.filter(hour__gte=holder.since.replace(minute=0, second=0, microsecond=0))
    if start is not None:
        rows = rows.filter(hour__gte=start)
    return float(rows.aggregate(sum=Sum("cost"))["sum"] or 0.0)


def estimated(call: Call, events: int) -> float | None:
    """What a stream has cost that was left before it told its usage: a token for four characters of
    the request, and one for each event that has come.
    """
    asked = sum(map(len, _texts(call.params)))
    return cost_of(call.model, Usage(input=asked // 4 + 1, output=events))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part)


def charge(holder: Holder, cost: float | None) -> None:
    """Count what a call has cost its holder."""
    if holder.budget is None or not cost:
        return

    def count() -> None:
        spent(holder)  # the count must be there, and begin with what came before
        _cache().incr(_spent_key(holder)[0], max(1, round(cost * _MICRO)))

    _spared(count, None)


async def acharge(holder: Holder, cost: float | None) -> None:
    """As `charge`."""
    if holder.budget is not None and cost:
        await sync_to_async(charge, thread_sensitive=False)(holder, cost)
