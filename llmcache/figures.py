"""Calls as rows of the log and as sums of their hours: tokens, money and time, paid and saved."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from time import time
from typing import Any, Final, NamedTuple

from llmcache import bulk, conf
from llmcache.models import Call, HourlyStat
from llmcache.pricing import cost_of
from llmcache.querysets import LOST
from llmcache.records import CallRecord
from llmcache.speeds import speed_of
from llmcache.text import ALIAS_LENGTH, LABEL_LENGTH, NAME_LENGTH, REASON_LENGTH, clean
from llmcache.usage import Usage

PLACE: Final = ("hour", "alias", "kind", "model", "namespace", "caller", "outcome", "speed")
"""What one row of the figures is about."""
SUMS: Final = (
    "calls",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "saved_input_tokens",
    "saved_output_tokens",
    "saved_cached_tokens",
    "cost",
    "saved_cost",
    "lookup_cost",
    "unpriced",
    "seconds",
    "saved_seconds",
)
"""What a row of the figures adds up."""
_COLUMNS: Final = (
    "created",
    "outcome",
    "reason",
    "alias",
    "digest",
    "kind",
    "model",
    "namespace",
    "scope",
    "caller",
    "layer",
    "streamed",
    "latency",
    "upstream_seconds",
    "age",
    "similarity",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "saved_input_tokens",
    "saved_output_tokens",
    "saved_cached_tokens",
    "cost",
    "saved_cost",
    "lookup_cost",
)
_LARGEST: Final = 2**31 - 1


class Worth(NamedTuple):
    """What an answer cost and saved; of calls that one entry answers it is the same."""

    tokens: tuple[int, int, int, int, int, int]
    cost: float | None
    saved_cost: float | None
    unpriced: bool
    upstream_seconds: float


class Measured(NamedTuple):
    """A call with its texts made fit for columns, and its tokens and money worked out."""

    record: CallRecord
    worth: Worth


def moment(unix: float) -> datetime:
    """Unix seconds as a column takes them."""
    return datetime.fromtimestamp(unix, UTC)


def usage_of(header: dict[str, Any], name: str = "usage") -> Usage:
    """Tokens that a header notes, within what a column takes."""
    counts = header.get(name)
    if not isinstance(counts, dict):
        return Usage()
    return Usage(**{part: _limited(int(number)) for part, number in counts.items()})


def _limited(number: int) -> int:
    return max(0, min(number, _LARGEST))


def measure(records: Iterable[CallRecord]) -> list[Measured]:
    """Work out what calls cost and saved."""
    # Most calls of a batch are alike in all of this: it is worked out once for those.
    text = lru_cache(maxsize=None)(clean)
    known: dict[Any, Worth] = {}
    result = []
    for record in records:
        noted = record.noted
        key = (noted, record.model, record.served)
        worth = known.get(key) if isinstance(noted, bytes) else None
        if worth is None:
            worth = _worth(record)
            if isinstance(noted, bytes):
                known[key] = worth
        result.append(Measured(_cleaned(record, text), worth))
    return result


def _worth(record: CallRecord) -> Worth:
    header = record.header()
    usage = usage_of(header)
    # The header of an embedding call says how much of it was cached.
    whole = usage if record.served else Usage()
    saved = usage_of(header, "saved") if "saved" in header else whole
    paid = Usage(*map(_limited, (usage - saved).as_dict().values()))
    model = header.get("priced_as") or record.model
    cost = cost_of(model, paid)
    return Worth(
        (paid.input, paid.output, paid.cached, saved.input, saved.output, saved.cached),
        cost,
        cost_of(model, saved),
        cost is None and usage.total > 0,
        float(header.get("seconds", 0.0)),
    )


def _cleaned(record: CallRecord, text: Callable[..., str]) -> CallRecord:
    return CallRecord(
        record.at,
        text(record.outcome, 16),
        clean(record.reason, REASON_LENGTH),
        text(record.alias, ALIAS_LENGTH),
        clean(record.digest, 64),
        text(record.kind, 32),
        text(record.model, NAME_LENGTH),
        text(record.namespace, NAME_LENGTH),
        text(record.scope, NAME_LENGTH),
        text(record.caller, LABEL_LENGTH),
        text(record.layer, ALIAS_LENGTH),
        *record[11:],
    )


def log(measured: Iterable[Measured], using: str) -> None:
    """Insert rows of the log, for as many of the calls as LOG_SAMPLE says."""
    sample = conf.config().log_sample
    shares: Mapping[str, float] = sample if isinstance(sample, Mapping) else {}
    other = 1.0 if isinstance(sample, Mapping) else sample
    rows = [
        (
            moment(record.at),
            *record[1:11],
            bool(record.streamed),
            record.latency,
            worth.upstream_seconds,
            record.age,
            record.similarity,
            *worth.tokens,
            worth.cost,
            worth.saved_cost,
            record.lookup_cost,
        )
        for record, worth in measured
        if (share := shares.get(record.outcome, other)) == 1 or random.random() < share  # noqa: S311
    ]
    bulk.insert(Call, _COLUMNS, rows, using)


def add_up(measured: Iterable[Measured], lost: int, using: str) -> None:
    """Add calls, and how many records were lost, to the figures of their hours."""
    sums: defaultdict[tuple[Any, ...], list[float]] = defaultdict(lambda: [0] * len(SUMS))
    for record, worth in measured:
        latency = record.latency
        place = (
            int(record.at // 3600) * 3600,
            record.alias,
            record.kind,
            record.model,
            record.namespace,
            record.caller,
            record.outcome,
            speed_of(latency),
        )
        spared = max(0.0, worth.upstream_seconds - latency) if record.served else 0.0
        added = (
            1,
            *worth.tokens,
            worth.cost or 0.0,
            worth.saved_cost or 0.0,
            record.lookup_cost,
            worth.unpriced,
            latency,
            spared,
        )
        row = sums[place]
        for number, value in enumerate(added):
            row[number] += value
    if lost:
        sums[int(time() // 3600) * 3600, "", "", "", "", "", LOST, 0][0] += lost
    # In one order in every process, so that two of them cannot wait for each other.
    rows = [(moment(place[0]), *place[1:], *sums[place]) for place in sorted(sums)]
    add(rows, using)


def add(rows: Sequence[Sequence[Any]], using: str) -> None:
    """Add rows to the figures: to those about the same place, where there are.

    Args:
        rows: values of PLACE and SUMS in this order, each place once and in order of the places.
    """
    bulk.insert(HourlyStat, (*PLACE, *SUMS), rows, using, add_to=SUMS, unique=PLACE)
