"""What staff, tasks and commands do to entries: evict, pin, change the ttl.

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
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.utils import timezone
from django.utils.translation import gettext_noop

from llmcache import conf, events, invalidation, policy
from llmcache.backends import stores
from llmcache.backends.base import BaseBackend
from llmcache.envelope import Envelope, EnvelopeError, seal, unseal
from llmcache.exceptions import EntryGone, InvalidRequest, UnsupportedOperation
from llmcache.invalidation import What
from llmcache.matching import pairs
from llmcache.models import Entry, Eviction
from llmcache.querysets import EntryQuerySet
from llmcache.store import backend_of, semantic_part
from llmcache.text import name_of
from llmcache.tombstones import RESEALED

BATCH: Final = 1000
CRITERIA: Final = ("digest", "tag", "namespace", "scope", "model")
_BY_HAND: Final = ("pinned", "ttl_set")
"""What a header says of an end that was set by hand: there is none, or no hit puts it off."""
Progress = Callable[[int], object]
"""Told how many more entries are done, after each batch."""
NO_STORE: Final = gettext_noop("The settings have no store of the alias %(alias)r.")
_NO_ANSWER: Final = gettext_noop("The store %(alias)r does not answer: %(problem)s")
_GONE: Final = gettext_noop("The entry is not in the store %(alias)r any more.")
_GONE_HERE: Final = gettext_noop(
    "The entry is not in this process's part of the store %(alias)r any more."
)
_CANNOT_BE_OPENED: Final = gettext_noop("The entry cannot be opened: %(problem)s")


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
        name: name_of(value)
        for name, value in zip(CRITERIA, (digest, tag, namespace, scope, model), strict=True)
        if value is not None
    }
    if len(given) != 1:
        raise InvalidRequest(f"Give exactly one of {', '.join(CRITERIA)} to evict by.")
    if alias is not None and backend_of(alias) is None:
        raise InvalidRequest.unknown("alias of LLMCACHE", alias, conf.backends())
    ((name, value),) = given.items()
    log: dict[str, Any] = {"alias": alias or "", "value": value, "reason": reason, "by": by}
    if name == "digest":  # it need not be in the index
        eviction = invalidation.publish(What.ENTRIES, digests=[value], **log)
        return _evict_digest(eviction, value, alias)
    everywhere = _index().tagged(value) if name == "tag" else _index().filter(**{name: value})
    entries = everywhere if alias is None else everywhere.filter(alias=alias)
    return _evict_thoroughly(invalidation.publish(What(name), **log), entries)


aevict: Final = sync_to_async(evict)
"""As `evict`, for async code."""


def _index() -> EntryQuerySet:
    return Entry.objects.using(invalidation.database())


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
    return _evict_thoroughly(eviction, entries.using(invalidation.database()), progress)


def clear(
    alias: str, *, reason: str = "", by: str = "", progress: Progress | None = None
) -> Evicted:
    """Remove everything that a store has, whether the index knows it or not.

    A store that cannot clear only its own entries loses those that the index knows.

    Raises:
        InvalidRequest: there is no such alias.
    """
    if (backend := backend_of(alias)) is None:
        raise InvalidRequest.unknown("alias of LLMCACHE", alias, conf.backends())
    eviction = invalidation.publish(What.ALIAS, alias=alias, reason=reason, by=by)
    problem = _tried(backend.clear)
    invalidation.apply(eviction)  # what stayed serves here no more than in other processes
    done = Evicted(failed=1, problems={alias: problem})
    if not problem:
        done = _evict_thoroughly(eviction, _index().filter(alias=alias), progress)
    if semantic_part(backend) is not None:  # a store that failed may have lost them all the same
        problem = _tried(partial(pairs.restore, backend, signed=not backend.process_local))
        if problem:
            done.failed += 1
            done.problems.setdefault(alias, f"rejected pairs may match again: {problem}")
    return done


def _tried(step: Callable[[], object]) -> str:
    """What goes wrong with a step; "" if nothing does, or the store cannot do it."""
    try:
        step()
    except Exception as error:
        return "" if isinstance(error, UnsupportedOperation) else f"{type(error).__name__}: {error}"
    return ""


def _evict_thoroughly(
    eviction: Eviction, entries: EntryQuerySet, progress: Progress | None = None
) -> Evicted:
    done = Evicted()

    def evict_all(progress: Progress | None = None) -> None:
        invalidation.apply(eviction)
        for batch in _batches(entries):
            _evict_batch(eviction, batch, done)
            if progress is not None:
                progress(len(batch))
        _finish(eviction, done)

    evict_all(progress)
    invalidation.at_commit(eviction, evict_all)
    return done


def _finish(eviction: Eviction, done: Evicted) -> None:
    Eviction.objects.filter(pk=eviction.pk).update(number=done.removed)


Row = tuple[int, str, str, datetime]


def _batches(entries: EntryQuerySet) -> Iterator[list[Row]]:
    """(pk, alias, digest, created) of the entries, so many at a time, by primary key."""
    rows = entries.order_by("pk").values_list("pk", "alias", "digest", "created")
    last = 0
    while batch := list(rows.filter(pk__gt=last)[:BATCH]):
        yield batch
        last = batch[-1][0]


def _evict_batch(eviction: Eviction, batch: Iterable[Row], done: Evicted) -> None:
    by_alias: defaultdict[str, list[Row]] = defaultdict(list)
    for row in batch:
        by_alias[row[1]].append(row)
    for alias, rows in by_alias.items():
        digests = [digest for _, _, digest, _ in rows]
        backend = backend_of(alias)
        if backend is not None:  # otherwise the process that made the store reads of it in the log
            try:
                backend.delete_many(digests)
            except Exception as error:
                done.failed += len(rows)
                done.problems[alias] = f"{type(error).__name__}: {error}"
                events.count("evict_error", len(rows))
                continue
        # What has been stored anew since it was listed may still be in the store: its row stays.
        seen = {pk: created for pk, _, _, created in rows}
        _index().filter(pk__in=list(seen)).drop(seen)
        invalidation.apply(invalidation.publish_part(eviction, alias, digests))
        done.removed += len(rows)


def _evict_digest(eviction: Eviction, digest: str, alias: str | None) -> Evicted:
    done = Evicted()

    def remove() -> None:
        for name in [alias] if alias else list(stores):
            try:
                backend = backend_of(name)
                assert backend is not None
                was_there = backend.delete(digest)
            except Exception as error:
                done.failed += 1
                done.problems[name] = f"{type(error).__name__}: {error}"
                events.count("evict_error")
                continue
            rows = _index().filter(alias=name, digest=digest).drop()
            done.removed += bool(was_there or rows)
        invalidation.apply(eviction)
        _finish(eviction, done)

    remove()
    invalidation.at_commit(eviction, remove)
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
        raise EntryGone(NO_STORE, alias=entry.alias)
    return backend


def _opened(entry: Entry, backend: BaseBackend) -> Envelope:
    try:
        data = backend.get(entry.digest)
    except Exception as error:
        raise EntryGone(_NO_ANSWER, alias=entry.alias, problem=error) from error
    if data is None:
        raise EntryGone(_GONE_HERE if backend.process_local else _GONE, alias=entry.alias)
    try:
        return unseal(entry.digest, data, signed=not backend.process_local)
    except EnvelopeError as error:
        raise EntryGone(_CANNOT_BE_OPENED, problem=error) from error


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
    endless = seconds is None or seconds >= policy.LONGEST
    _reseal(entry, None if endless else seconds, pinned=False, by=by)


def _reseal(entry: Entry, ttl: float | None, *, pinned: bool, by: str) -> None:
    backend = _backend(entry)
    envelope = _opened(entry, backend)
    window = envelope.stale_until - envelope.expires
    window = 0.0 if math.isnan(window) else window
    kept = None if ttl is None or math.isinf(window) else ttl + window
    expires = math.inf if ttl is None else time() + ttl
    header = {name: value for name, value in envelope.header.items() if name not in _BY_HAND}
    if pinned or ttl is not None:
        header["pinned" if pinned else "ttl_set"] = True
    now = timezone.now()
    header[RESEALED] = now.timestamp()
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
        backend.set(entry.digest, data, kept)
        semantic = semantic_part(backend)
        if semantic is not None:  # its vector has an end of its own
            semantic.touch(entry.digest, kept)
    except Exception as error:
        raise EntryGone(_NO_ANSWER, alias=entry.alias, problem=error) from error
    shorter = ttl is not None and (entry.expires is None or _from_now(ttl) < entry.expires)
    entry.pinned = pinned
    entry.expires = None if ttl is None else _from_now(ttl)
    entry.kept_until = None if kept is None else _from_now(kept)
    entry.size = len(data)
    entry.save(update_fields=("pinned", "expires", "kept_until", "size"))
    if shorter:  # copies in other processes' memory would outlive it
        operation = invalidation.publish(
            What.ENTRIES, value="ttl", reason="ttl shortened", by=by, created=now
        )
        invalidation.publish_part(operation, entry.alias, [entry.digest])


def _from_now(seconds: float) -> datetime:
    return timezone.now() + timedelta(seconds=seconds)
