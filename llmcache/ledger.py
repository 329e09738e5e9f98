"""Writes records as rows: the index of entries, the log of calls, the hours' figures.

One batch is one transaction, so a batch that failed can be written again without counting anything
twice. Hits of entries are added afterwards, as statements of their own that lock little.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from django.db import DatabaseError, IntegrityError, connections, router, transaction
from django.db.models import F

from llmcache import conf, events, invalidation
from llmcache.models import (
    ALIAS_LENGTH,
    LABEL_LENGTH,
    NAME_LENGTH,
    REASON_LENGTH,
    Call,
    Entry,
    EntryTag,
    HourlyStat,
    RecordBatch,
)
from llmcache.outcome import HIT, STALE
from llmcache.pricing import cost_of
from llmcache.records import CallRecord, EntryRecord
from llmcache.speeds import speed_of
from llmcache.store import backend_of
from llmcache.text import clean
from llmcache.usage import Usage

LOST: Final = "lost"
"""The outcome of records that were lost: a row of the figures counts them."""
_AT_A_TIME: Final = 500  # rows a statement; SQLite takes 999 parameters in old versions
_LARGEST: Final = 2**31 - 1


def database() -> str:
    """The alias of the database that the rows go to."""
    return router.db_for_write(Call)


def write(
    calls: Sequence[CallRecord],
    entries: Sequence[EntryRecord],
    lost: int = 0,
    batch_id: str | None = None,
    *,
    restored: bool = False,
) -> None:
    """Write one batch.

    Args:
        lost: how many records were dropped since the last batch.
        batch_id: a UUID; a batch that was written under it before is not written again.
        restored: whether entries that were evicted since they were made are to stay.

    Raises:
        DatabaseError: nothing of the batch was written, or only hits are missing from it.
    """
    using = database()
    measured = [_measured(record) for record in calls]
    latest = {(record.alias, record.digest): record for record in entries}
    with transaction.atomic(using=using):
        if batch_id is not None:
            if RecordBatch.objects.using(using).filter(pk=batch_id).exists():
                return
            RecordBatch.objects.using(using).create(pk=batch_id)
        _index(list(latest.values()), using)
        _log(measured, using)
        _add_up(measured, lost, using)
    _count_hits(calls, using)
    if not restored:
        _evict_overtaken(latest.values())


# --- calls ---


@dataclass(slots=True)
class _Measured:
    """A call's record with its tokens and money worked out."""

    record: CallRecord
    usage: Usage
    saved: Usage
    paid: Usage
    cost: float | None
    saved_cost: float | None
    upstream_seconds: float


def _usage(counts: Any) -> Usage:
    if not isinstance(counts, dict):
        return Usage()
    limited = {name: max(0, min(int(number), _LARGEST)) for name, number in counts.items()}
    return Usage(**limited)


def _measured(record: CallRecord) -> _Measured:
    header = record.header()
    usage = _usage(header.get("usage"))
    # The header of an embedding call says how much of it was cached.
    whole = usage if record.served else Usage()
    saved = _usage(header["saved"]) if "saved" in header else whole
    paid = usage - saved
    return _Measured(
        record,
        usage,
        saved,
        paid,
        cost_of(record.model, paid),
        cost_of(record.model, saved),
        float(header.get("seconds", 0.0)),
    )


def _when(unix: float) -> datetime:
    return datetime.fromtimestamp(unix, UTC)


def _log(measured: Iterable[_Measured], using: str) -> None:
    share = conf.config().log_sample
    if share == 0:
        return
    rows = [
        Call(
            created=_when(m.record.at),
            outcome=m.record.outcome,
            reason=clean(m.record.reason, REASON_LENGTH),
            alias=clean(m.record.alias, ALIAS_LENGTH),
            digest=m.record.digest or "",
            kind=m.record.kind,
            model=clean(m.record.model, NAME_LENGTH),
            namespace=clean(m.record.namespace, NAME_LENGTH),
            scope=clean(m.record.scope, NAME_LENGTH),
            caller=clean(m.record.caller, LABEL_LENGTH),
            layer=clean(m.record.layer, ALIAS_LENGTH),
            streamed=m.record.streamed,
            latency=m.record.latency,
            upstream_seconds=m.upstream_seconds,
            age=m.record.age,
            similarity=m.record.similarity,
            input_tokens=m.paid.input,
            output_tokens=m.paid.output,
            cached_tokens=m.paid.cached,
            saved_input_tokens=m.saved.input,
            saved_output_tokens=m.saved.output,
            saved_cached_tokens=m.saved.cached,
            cost=m.cost,
            saved_cost=m.saved_cost,
            lookup_cost=m.record.lookup_cost,
        )
        for m in measured
        if share == 1 or random.random() < share  # noqa: S311
    ]
    Call.objects.using(using).bulk_create(rows, batch_size=_AT_A_TIME)


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


def _add_up(measured: Iterable[_Measured], lost: int, using: str) -> None:
    """Add a batch to the figures of its hours."""
    figures: defaultdict[tuple[Any, ...], list[float]] = defaultdict(lambda: [0] * len(SUMS))
    for m in measured:
        record = m.record
        key = (
            int(record.at // 3600) * 3600,
            record.alias,
            record.kind,
            record.model,
            record.namespace,
            record.caller,
            record.outcome,
            speed_of(record.latency),
        )
        spared = max(0.0, m.upstream_seconds - record.latency) if record.served else 0.0
        added = (
            1,
            m.paid.input,
            m.paid.output,
            m.paid.cached,
            m.saved.input,
            m.saved.output,
            m.saved.cached,
            m.cost or 0.0,
            m.saved_cost or 0.0,
            record.lookup_cost,
            m.cost is None and m.usage.total > 0,
            record.latency,
            spared,
        )
        figures[key] = [old + new for old, new in zip(figures[key], added, strict=True)]
    if lost:
        hour = int(datetime.now(UTC).timestamp() // 3600) * 3600
        figures[hour, "", "", "", "", "", LOST, 0] = [lost, *([0] * (len(SUMS) - 1))]
    # In one order in every process, so that two of them cannot wait for each other.
    for key in sorted(figures, key=str):
        _add(key, dict(zip(SUMS, figures[key], strict=True)), using)


def _add(key: tuple[Any, ...], sums: dict[str, float], using: str) -> None:
    hour, alias, kind, model, namespace, caller, outcome, speed = key
    place = {
        "hour": _when(hour),
        "alias": clean(alias, ALIAS_LENGTH),
        "kind": kind,
        "model": clean(model, NAME_LENGTH),
        "namespace": clean(namespace, NAME_LENGTH),
        "caller": clean(caller, LABEL_LENGTH),
        "outcome": outcome,
        "speed": speed,
    }
    rows = HourlyStat.objects.using(using)
    more = {name: F(name) + number for name, number in sums.items() if number}
    if rows.filter(**place).update(**more):
        return
    try:
        with transaction.atomic(using=using):
            rows.create(**place, **sums)
    except IntegrityError:  # another process was first
        rows.filter(**place).update(**more)


def _count_hits(calls: Iterable[CallRecord], using: str) -> None:
    """Add hits to the index: one statement for all entries with as many new hits."""
    hits = Counter((c.alias, c.digest) for c in calls if c.outcome in (HIT, STALE) and c.digest)
    if not hits:
        return
    last = _when(max(call.at for call in calls))
    groups: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for (alias, digest), number in hits.items():
        groups[clean(alias, ALIAS_LENGTH), number].append(str(digest))
    for (alias, number), digests in sorted(groups.items()):
        digests.sort()
        for start in range(0, len(digests), _AT_A_TIME):
            Entry.objects.using(using).filter(
                alias=alias, digest__in=digests[start : start + _AT_A_TIME]
            ).update(hits=F("hits") + number, last_hit=last)


# --- entries ---

_RENEWED: Final = (
    "kind",
    "model",
    "namespace",
    "scope",
    "preview",
    "material",
    "size",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cost",
    "upstream_seconds",
    "created",
    "expires",
    "kept_until",
    "pinned",
)


def _index(records: Collection[EntryRecord], using: str) -> None:
    """Insert the entries' rows, or renew those that are there; hits are kept."""
    if not records:
        return
    rows = [_row(record) for record in records]
    targeted = connections[using].features.supports_update_conflicts_with_target
    Entry.objects.using(using).bulk_create(
        sorted(rows, key=lambda row: (row.digest, row.alias)),
        batch_size=_AT_A_TIME // 5,
        update_conflicts=True,
        update_fields=_RENEWED,
        unique_fields=("digest", "alias") if targeted else None,
    )
    _tag(records, using)


def _row(record: EntryRecord) -> Entry:
    record.describe()
    header = record.header
    usage = _usage(header.get("usage"))
    return Entry(
        alias=clean(record.alias, ALIAS_LENGTH),
        digest=record.digest,
        kind=header.get("kind", ""),
        model=clean(header.get("model"), NAME_LENGTH),
        namespace=clean(header.get("namespace"), NAME_LENGTH),
        scope=clean(header.get("scope"), NAME_LENGTH),
        preview=record.preview,
        material=record.shown,
        size=record.size,
        input_tokens=usage.input,
        output_tokens=usage.output,
        cached_tokens=usage.cached,
        cost=cost_of(header.get("model", ""), usage),
        upstream_seconds=header.get("seconds", 0.0),
        created=_when(record.created),
        expires=None if record.expires is None else _when(record.expires),
        kept_until=None if record.kept_until is None else _when(record.kept_until),
        pinned=bool(header.get("pinned", False)),
    )


def _tag(records: Iterable[EntryRecord], using: str) -> None:
    tags = {
        (clean(record.alias, ALIAS_LENGTH), record.digest): record.header["tags"]
        for record in records
        if record.header.get("tags")
    }
    if not tags:
        return
    found = Entry.objects.using(using).of_digests(digest for _, digest in tags)
    rows = [
        EntryTag(entry_id=pk, name=clean(name, NAME_LENGTH))
        for pk, alias, digest in found.values_list("pk", "alias", "digest")
        for name in tags.get((alias, digest), ())
    ]
    EntryTag.objects.using(using).bulk_create(rows, _AT_A_TIME, ignore_conflicts=True)


def _evict_overtaken(records: Iterable[EntryRecord]) -> None:
    """Remove entries that were evicted while they were on their way into the index."""
    for operation, record in invalidation.overtaken(records):
        backend = backend_of(record.alias)
        try:
            if backend is not None:
                backend.delete(record.digest)
            Entry.objects.filter(
                alias=clean(record.alias, ALIAS_LENGTH), digest=record.digest
            ).delete()
            invalidation.publish_part(operation, record.alias, [record.digest])
        except DatabaseError:
            raise
        except Exception as error:
            events.count("evict_error")
            events.logger.warning("Alias %r could not evict: %s", record.alias, error)
