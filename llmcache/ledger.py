"""Writes records as rows: the index of entries, the log of calls, the hours' figures.

One batch is one transaction, so a batch that failed can be written again without counting anything
twice. Rows that several processes write are locked in one order: entries by digest and alias, then
figures by place.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.models import F

from llmcache import conf, events, figures, invalidation, transactions
from llmcache.figures import Measured, moment, usage_of
from llmcache.invalidation import database as database
from llmcache.models import Entry, EntryTag, RecordBatch
from llmcache.outcome import HIT, STALE
from llmcache.pricing import cost_of
from llmcache.records import CallRecord, EntryRecord
from llmcache.store import backend_of
from llmcache.text import ALIAS_LENGTH, clean, name_of

_AT_A_TIME: Final = 500  # rows a statement; SQLite takes 999 parameters in old versions
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

Place = tuple[str, str]
"""The digest and the alias of an entry."""


def write(
    calls: Sequence[CallRecord],
    entries: Sequence[EntryRecord],
    lost: int = 0,
    batch_id: str | None = None,
    *,
    restored: bool = False,
    after: str | None = None,
) -> None:
    """Write one batch.

    Args:
        lost: how many records were dropped since the last batch.
        batch_id: a UUID; a batch that was written under it before is not written again.
        restored: whether entries that were evicted since they were made are to stay, and to replace
            newer ones.
        after: the id of a batch that will not come again, so need not be remembered.

    Raises:
        DatabaseError: the batch is to be written again, under its id: without one, it may count
            twice what it has written already.
    """
    using = database()
    measured = figures.measure(calls)
    latest = {_place(record): record for record in entries if record.lengthened is None}
    lengthened = {_place(record): record for record in entries if record.lengthened is not None}
    share = conf.config().hit_sample
    hits = _hits(measured, share)

    def work() -> None:
        if batch_id is not None and not _is_new(batch_id, using):
            return
        figures.log(measured, using)
        places = latest.keys() | lengthened.keys() | {place for place, _ in hits}
        known = _locked(places, using)
        renewed = {
            place: record
            for place, record in latest.items()
            if restored or place not in known or moment(record.created) >= known[place].created
        }
        _index(renewed, using)
        _lengthen(lengthened, using)
        _tag(renewed, known, using)
        _count_hits(hits, share, known.keys() | renewed.keys(), using)
        figures.add_up(measured, lost, using)
        if after is not None:
            RecordBatch.objects.using(using).filter(pk=after).delete()

    transactions.once(using, work)
    if not restored:
        _evict_overtaken([*latest.values(), *lengthened.values()])


def _is_new(batch_id: str, using: str) -> bool:
    try:
        with transaction.atomic(using=using):
            RecordBatch.objects.using(using).create(pk=batch_id)
    except IntegrityError:
        return False
    return True


def _place(record: EntryRecord) -> Place:
    return record.digest, clean(record.alias, ALIAS_LENGTH)


def _parts(digests: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(digests)
    for start in range(0, len(ordered), _AT_A_TIME):
        yield ordered[start : start + _AT_A_TIME]


@dataclass(frozen=True, slots=True)
class _Known:
    """A row of the index as it is before the batch."""

    pk: int
    created: datetime


def _locked(places: Collection[Place], using: str) -> dict[Place, _Known]:
    """Those of the entries that have a row, locked until the batch is written."""
    known = {}
    for digests in _parts({digest for digest, _ in places}):
        rows = Entry.objects.using(using).of_digests(digests).locked()
        for pk, created, digest, alias in rows:
            known[digest, alias] = _Known(pk, created)
    return known


def _hits(measured: Iterable[Measured], share: float) -> list[tuple[Place, float]]:
    """Which entries were hit when, in as many of the hits as the share says."""
    return [
        ((record.digest, record.alias), record.at)
        for record, _ in measured
        if record.outcome in (HIT, STALE)
        and record.digest
        and (share == 1 or random.random() < share)  # noqa: S311
    ]


def _count_hits(
    hits: Sequence[tuple[Place, float]], share: float, present: Collection[Place], using: str
) -> None:
    """Add hits to the index: one statement for all entries with as many new hits."""
    last = dict(hits)
    groups: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for (digest, alias), number in Counter(place for place, _ in hits).items():
        if (digest, alias) in present:
            groups[alias, _stands_for(number, share)].append(digest)
    for (alias, number), digests in groups.items():
        for part in _parts(digests):
            at = moment(max(last[digest, alias] for digest in part))
            Entry.objects.using(using).filter(alias=alias, digest__in=part).update(
                hits=F("hits") + number, last_hit=at
            )


def _stands_for(number: int, share: float) -> int:
    """How many hits there were for so many in the sample, rounded so that sums come out right."""
    whole, rest = divmod(number / share, 1)
    return int(whole) + (random.random() < rest)  # noqa: S311


def _index(records: dict[Place, EntryRecord], using: str) -> None:
    """Insert the entries' rows, or renew those that are there; hits are kept."""
    targeted = connections[using].features.supports_update_conflicts_with_target
    Entry.objects.using(using).bulk_create(
        [_row(records[place]) for place in sorted(records)],
        batch_size=_AT_A_TIME // 5,
        update_conflicts=True,
        update_fields=_RENEWED,
        unique_fields=("digest", "alias") if targeted else None,
    )


def _lengthen(records: dict[Place, EntryRecord], using: str) -> None:
    """Note the later ends of entries, as far as the index has these very answers."""
    for (digest, alias), record in sorted(records.items()):
        rows = Entry.objects.using(using).filter(digest=digest, alias=alias, pinned=False)
        rows.filter(created=moment(record.created)).update(
            expires=None if record.expires is None else moment(record.expires),
            kept_until=None if record.kept_until is None else moment(record.kept_until),
            size=record.size,
        )


def _row(record: EntryRecord) -> Entry:
    record.describe()
    header = record.header
    usage = usage_of(header)
    return Entry(
        alias=clean(record.alias, ALIAS_LENGTH),
        digest=record.digest,
        kind=clean(header.get("kind"), 32),
        model=name_of(header.get("model")),
        namespace=name_of(header.get("namespace")),
        scope=name_of(header.get("scope")),
        preview=record.preview,
        material=record.shown,
        size=record.size,
        input_tokens=usage.input,
        output_tokens=usage.output,
        cached_tokens=usage.cached,
        cost=cost_of(header.get("priced_as") or header.get("model") or "", usage),
        upstream_seconds=header.get("seconds", 0.0),
        created=moment(record.created),
        expires=None if record.expires is None else moment(record.expires),
        kept_until=None if record.kept_until is None else moment(record.kept_until),
        pinned=bool(header.get("pinned", False)),
    )


def _tag(records: dict[Place, EntryRecord], known: dict[Place, _Known], using: str) -> None:
    """Give the entries the tags of their newest answer, and no others."""
    wanted = {
        place: {name_of(name) for name in record.header.get("tags") or ()}
        for place, record in records.items()
    }
    rows = EntryTag.objects.using(using)
    before = {known[place].pk: place for place in records if place in known}
    for start in range(0, len(before), _AT_A_TIME):
        pks = list(before)[start : start + _AT_A_TIME]
        found = rows.filter(entry_id__in=pks).values_list("pk", "entry_id", "name")
        old = [pk for pk, entry, name in found if name not in wanted[before[entry]]]
        for at in range(0, len(old), _AT_A_TIME):
            rows.filter(pk__in=old[at : at + _AT_A_TIME]).delete()
    tagged = {place for place, names in wanted.items() if names}
    for digests in _parts({digest for digest, _ in tagged}):
        entries = Entry.objects.using(using).of_digests(digests)
        found_entries = entries.values_list("pk", "digest", "alias")
        rows.bulk_create(
            [
                EntryTag(entry_id=pk, name=name)
                for pk, *place in sorted(found_entries)
                for name in sorted(wanted.get((place[0], place[1]), ()))
            ],
            _AT_A_TIME,
            ignore_conflicts=True,
        )


def _evict_overtaken(records: Iterable[EntryRecord]) -> None:
    """Remove entries that were evicted while they were on their way into the index."""
    for operation, record in invalidation.overtaken(records):
        backend = backend_of(record.alias)
        try:
            if backend is not None:
                backend.delete(record.digest)
            alias = clean(record.alias, ALIAS_LENGTH)
            Entry.objects.filter(alias=alias, digest=record.digest).drop()
            part = invalidation.publish_part(operation, record.alias, [record.digest])
            invalidation.apply(part)
        except DatabaseError:
            raise
        except Exception as error:
            events.count("evict_error")
            events.logger.warning("Alias %r could not evict: %s", record.alias, error)
