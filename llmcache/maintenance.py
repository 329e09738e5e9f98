"""What staff, tasks and commands do to entries: evict, pin, change the ttl, sweep, thin out.

Removing goes through `llmcache.invalidation`, which tells the order of its steps. Everything works
in batches, so nothing holds a lock or a list for long.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from time import time
from typing import Final

from asgiref.sync import sync_to_async
from django.db import transaction
from django.utils import timezone

from llmcache import conf, events, invalidation
from llmcache.backends import stores
from llmcache.backends.base import BaseBackend
from llmcache.envelope import Envelope, EnvelopeError, seal, unseal
from llmcache.exceptions import InvalidRequest, LLMCacheError, UnsupportedOperation
from llmcache.invalidation import What
from llmcache.models import Call, Entry, Eviction, RecordBatch
from llmcache.querysets import EntryQuerySet
from llmcache.store import backend_of

BATCH: Final = 1000
CRITERIA: Final = ("digest", "tag", "namespace", "scope", "model")
Progress = Callable[[int], object]
"""Told how many more entries are done, after each batch."""


class EntryGone(LLMCacheError):
    """The index knows an entry that its store does not have, or that cannot be opened."""


@dataclass(slots=True)
class Evicted:
    """What an eviction did.

    Attributes:
        removed: entries taken out of the index and their stores.
        failed: entries that stayed, because their store failed; they can be evicted again.
        problems: what the stores said, one text for each alias.
    """

    removed: int = 0
    failed: int = 0
    problems: dict[str, str] = field(default_factory=dict)


# --- evicting ---


def evict(
    *,
    digest: str | None = None,
    tag: str | None = None,
    namespace: str | None = None,
    scope: str | None = None,
    model: str | None = None,
    alias: str | None = None,
    reason: str = "",
    by: str = "",
) -> Evicted:
    """Remove all entries that have one thing in common, from all processes.

    Exactly one of digest, tag, namespace, scope and model must be given. Other processes drop what
    they hold in their own memory within FLUSH_INTERVAL. An answer that was on its way when this was
    called is removed when it arrives.

    Args:
        alias: only in this store; None for every store.
        reason, by: for the eviction log.

    Raises:
        InvalidRequest: not exactly one criterion, or an alias that does not exist.
    """
    given = {
        name: value
        for name, value in zip(CRITERIA, (digest, tag, namespace, scope, model), strict=True)
        if value is not None
    }
    if len(given) != 1:
        raise InvalidRequest(f"Give exactly one of {', '.join(CRITERIA)} to evict by.")
    if alias is not None and backend_of(alias) is None:
        raise InvalidRequest.unknown("alias of LLMCACHE", alias, conf.backends())
    ((name, value),) = given.items()
    if name == "digest":
        entries = Entry.objects.of_digests([value])
        operation = partial(invalidation.publish, What.ENTRIES)
    elif name == "tag":
        entries = Entry.objects.tagged(value)
        operation = partial(invalidation.publish, What.TAG)
    else:
        entries = Entry.objects.filter(**{name: value})
        operation = partial(invalidation.publish, What(name))
    if alias is not None:
        entries = entries.filter(alias=alias)
    eviction = operation(alias=alias or "", value=value, reason=reason, by=by)
    if name == "digest":  # it need not be in the index
        return _evict_digest(eviction, value, alias)
    return _evict_thoroughly(eviction, lambda: entries)


aevict: Final = sync_to_async(evict)
"""As `evict`, for async code."""


def evict_entries(
    entries: EntryQuerySet,
    *,
    what: str = "",
    reason: str = "",
    by: str = "",
    progress: Progress | None = None,
) -> Evicted:
    """Remove the entries of a queryset from their stores and the index.

    Args:
        entries: unsliced; its order does not matter.
        what: the filter in words, for the eviction log.
    """
    eviction = invalidation.publish(What.ENTRIES, value=what, reason=reason, by=by)
    return _evict_thoroughly(eviction, lambda: entries, progress)


def clear(
    alias: str, *, reason: str = "", by: str = "", progress: Progress | None = None
) -> Evicted:
    """Remove everything that a store has, whether the index knows it or not.

    A store that cannot clear only its own entries loses those that the index knows.

    Raises:
        InvalidRequest: there is no such alias.
    """
    backend = backend_of(alias)
    if backend is None:
        raise InvalidRequest.unknown("alias of LLMCACHE", alias, conf.backends())
    eviction = invalidation.publish(What.ALIAS, alias=alias, reason=reason, by=by)
    try:
        backend.clear()
    except UnsupportedOperation:
        pass
    except Exception as error:
        return Evicted(failed=1, problems={alias: f"{type(error).__name__}: {error}"})
    invalidation.apply(eviction)
    return _evict_thoroughly(eviction, lambda: Entry.objects.filter(alias=alias), progress)


def _evict_thoroughly(
    eviction: Eviction, entries: Callable[[], EntryQuerySet], progress: Progress | None = None
) -> Evicted:
    """Remove the entries that the index knows now and, inside a transaction, again after it: what
    others wrote meanwhile could not see the eviction yet.
    """
    invalidation.apply(eviction)
    done = Evicted()
    for batch in _batches(entries()):
        _evict_batch(eviction, batch, done)
        if progress is not None:
            progress(len(batch))
    Eviction.objects.filter(pk=eviction.pk).update(number=done.removed)
    if invalidation.in_transaction():
        transaction.on_commit(lambda: _evict_again(eviction, entries), using=entries().db)
    return done


def _evict_again(eviction: Eviction, entries: Callable[[], EntryQuerySet]) -> None:
    done = Evicted()
    for batch in _batches(entries()):
        _evict_batch(eviction, batch, done)


Row = tuple[int, str, str]


def _batches(entries: EntryQuerySet) -> Iterator[list[Row]]:
    """(pk, alias, digest) of the entries, so many at a time, in the order of their keys."""
    rows = entries.order_by("pk").values_list("pk", "alias", "digest")
    last = 0
    while batch := list(rows.filter(pk__gt=last)[:BATCH]):
        yield batch
        last = batch[-1][0]


def _evict_batch(eviction: Eviction, batch: Iterable[Row], done: Evicted) -> None:
    by_alias: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for pk, alias, digest in batch:
        by_alias[alias].append((pk, digest))
    for alias, pairs in by_alias.items():
        digests = [digest for _, digest in pairs]
        backend = backend_of(alias)
        if backend is not None:  # otherwise the process that made the store reads of it in the log
            try:
                backend.delete_many(digests)
            except Exception as error:
                done.failed += len(pairs)
                done.problems[alias] = f"{type(error).__name__}: {error}"
                events.count("evict_error", len(pairs))
                continue
        Entry.objects.filter(pk__in=[pk for pk, _ in pairs]).delete()
        invalidation.publish_part(eviction, alias, digests)
        done.removed += len(pairs)


def _evict_digest(eviction: Eviction, digest: str, alias: str | None) -> Evicted:
    aliases = [alias] if alias else list(stores)
    done = Evicted()
    for name in aliases:
        backend = backend_of(name)
        assert backend is not None
        try:
            was_there = backend.delete(digest)
        except Exception as error:
            done.failed += 1
            done.problems[name] = f"{type(error).__name__}: {error}"
            continue
        rows, _ = Entry.objects.filter(alias=name, digest=digest).delete()
        done.removed += bool(was_there or rows)
        invalidation.publish_part(eviction, name, [digest])
    Eviction.objects.filter(pk=eviction.pk).update(number=done.removed)
    return done


# --- one entry ---


def payload(entry: Entry) -> Envelope:
    """The stored answer of an entry.

    Raises:
        EntryGone: the store does not have it, does not answer, or cannot open it.
    """
    return _opened(entry, _backend(entry))


def _backend(entry: Entry) -> BaseBackend:
    backend = backend_of(entry.alias)
    if backend is None:
        raise EntryGone(f"The settings have no store of the alias {entry.alias!r}.")
    return backend


def _opened(entry: Entry, backend: BaseBackend) -> Envelope:
    try:
        data = backend.get(entry.digest)
    except Exception as error:
        raise EntryGone(f"The store {entry.alias!r} does not answer: {error}") from error
    if data is None:
        where = "this process's part of " if backend.process_local else ""
        raise EntryGone(f"The entry is not in {where}the store {entry.alias!r} any more.")
    try:
        return unseal(entry.digest, data, signed=not backend.process_local)
    except EnvelopeError as error:
        raise EntryGone(f"The entry cannot be opened: {error}") from error


def pin(entry: Entry, *, by: str = "") -> None:
    """Keep an entry without end, and out of what is evicted by a filter.

    Raises:
        EntryGone: as `payload`.
    """
    _reseal(entry, None, pinned=True, by=by)


def set_ttl(entry: Entry, seconds: float | None, *, by: str = "") -> None:
    """Let an entry live so many seconds from now, or without end; a pinned one is unpinned.

    Raises:
        InvalidRequest: the number is not above 0.
        EntryGone: as `payload`.
    """
    if seconds is not None and not seconds > 0:
        raise InvalidRequest(f"A ttl must be a number of seconds above 0, not {seconds!r}.")
    _reseal(entry, seconds, pinned=False, by=by)


def _reseal(entry: Entry, ttl: float | None, *, pinned: bool, by: str) -> None:
    backend = _backend(entry)
    envelope = _opened(entry, backend)
    window = envelope.stale_until - envelope.expires
    window = window if math.isfinite(window) else 0.0
    expires = math.inf if ttl is None else time() + ttl
    header = {**envelope.header, "pinned": True} if pinned else {**envelope.header}
    if not pinned:
        header.pop("pinned", None)
    data = seal(
        entry.digest,
        envelope.payload,
        created=envelope.created,
        expires=expires,
        stale_until=expires + window,
        is_stream=envelope.is_stream,
        header=header,
        sign=not backend.process_local,
        compress_min_bytes=0 if backend.process_local else conf.config().compress_min_bytes,
    )
    try:
        backend.set(entry.digest, data, None if ttl is None else ttl + window)
    except Exception as error:
        raise EntryGone(f"The store {entry.alias!r} does not answer: {error}") from error
    shorter = ttl is not None and (entry.expires is None or _from_now(ttl) < entry.expires)
    entry.pinned = pinned
    entry.expires = None if ttl is None else _from_now(ttl)
    entry.kept_until = None if ttl is None else _from_now(ttl + window)
    entry.size = len(data)
    entry.save(update_fields=("pinned", "expires", "kept_until", "size"))
    if shorter:  # copies in other processes' memory would outlive it
        operation = invalidation.publish(What.ENTRIES, value="ttl", reason="ttl shortened", by=by)
        invalidation.publish_part(operation, entry.alias, [entry.digest])


def _from_now(seconds: float) -> datetime:
    return timezone.now() + timedelta(seconds=seconds)


# --- keeping house ---


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
    expired = Entry.objects.expired().order_by("kept_until")
    pks = list(expired.values_list("pk", flat=True)[:limit])
    Entry.objects.filter(pk__in=pks).delete()
    swept.index = len(pks)
    old = timezone.now() - timedelta(days=conf.config().retention_days)
    rows = [
        (Call.objects.before(old).order_by("created"), Call),
        (Eviction.objects.operations().filter(created__lt=old).order_by("created"), Eviction),
        (RecordBatch.objects.filter(created__lt=old).order_by("created"), RecordBatch),
    ]
    for queryset, table in rows:
        found = list(queryset.values_list("pk", flat=True)[:limit])
        table._default_manager.filter(pk__in=found).delete()
        swept.log += len(found)
    return swept
