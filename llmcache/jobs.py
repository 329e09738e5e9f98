"""What a worker does, as plain functions of JSON values.

Each may be done twice: a queue delivers some tasks more than once. `llmcache.tasks` and
`llmcache.django_tasks` make tasks of them; without a queue a thread of this process does the work.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from time import time
from typing import Any, Final

import orjson
from django.core.exceptions import FieldError, ValidationError
from django.db import DataError, IntegrityError, connections

from llmcache import (
    backends,
    caching,
    events,
    ledger,
    maintenance,
    refreshing,
    rollup,
    sweeping,
    task_queue,
    threads,
    warming,
    writer,
)
from llmcache.backends.base import Item
from llmcache.backends.semantic.base import Vector
from llmcache.envelope import Envelope, EnvelopeError, unseal
from llmcache.exceptions import EntryGone, InvalidRequest, LLMCacheError
from llmcache.models import Entry, RecordBatch
from llmcache.querysets import EntryQuerySet
from llmcache.records import CallRecord, EntryRecord
from llmcache.store import semantic_part


class StoreFailed(LLMCacheError):
    """A store did not do its part: the job may be done again later."""


# --- writing ---


def write_items(
    alias: str,
    items: Sequence[Sequence[Any]],
    records: Sequence[Mapping[str, Any]] = (),
    vectors: Sequence[Mapping[str, Any]] = (),
) -> int:
    """Store entries that another process has sealed, and tell the index of them.

    An entry whose time has passed meanwhile is left out, and so is one that the store has a newer
    version of. An entry that was evicted meanwhile is removed again.

    Args:
        items: of each entry the digest, the sealed bytes in base64 and the ttl in seconds or None.
        records: `EntryRecord.as_json()` of each.
        vectors: `Vector.as_json()` of each, where the store is searched by meaning.

    Returns:
        How many were stored.

    Raises:
        StoreFailed: the store failed; nothing is lost by doing the job again.
        DatabaseError: the entries are stored, but the index does not know of them yet.
    """
    backend = backends.stores[alias]
    sealed = {digest: (b64decode(data), ttl) for digest, data, ttl in items}
    given = {digest: unseal(digest, data) for digest, (data, _) in sealed.items()}
    try:
        present = backend.present(given)
        newer = {d for d, e in given.items() if _created(d, present.get(d)) > e.created}
        again = {d for d, e in given.items() if _created(d, present.get(d)) == e.created}
        late = {d for d, e in given.items() if time() >= e.stale_until}
        new = [
            Item(digest, data, _left(ttl, given[digest]))
            for digest, (data, ttl) in sealed.items()
            if digest not in newer | again | late
        ]
        if new:
            backend.set_many(new)
        if vectors and (semantic := semantic_part(backend)) is not None:
            near = [Vector.from_json(vector) for vector in vectors]
            semantic.add(vector for vector in near if vector.digest not in newer | late)
    except Exception as error:
        raise StoreFailed(f"Alias {alias!r}: {type(error).__name__}: {error}") from error
    known = [EntryRecord(**record) for record in records]
    ledger.write([], [record for record in known if record.digest not in newer | late])
    cache = caching.for_alias(alias)
    if cache is not None:
        writer.tell(cache, new)
    return len(new)


def _created(digest: str, data: bytes | None) -> float:
    """When what the store has was made; before everything, if it has nothing that opens."""
    try:
        return 0.0 if data is None else unseal(digest, data).created
    except EnvelopeError:
        return 0.0


def _left(ttl: float | None, envelope: Envelope) -> float | None:
    """What is left of a ttl that has begun when the entry was made."""
    return None if ttl is None else max(0.001, min(ttl, envelope.stale_until - time()))


def flush_records(
    calls: Sequence[Sequence[Any]],
    entries: Sequence[Mapping[str, Any]],
    lost: int = 0,
    batch_id: str | None = None,
) -> None:
    """Write a batch of records to the database; under one batch_id only once.

    Args:
        calls: `CallRecord.as_json()` of each call.
        entries: `EntryRecord.as_json()` of each entry.
        lost: how many records were dropped before these.

    Raises:
        DatabaseError: nothing was written; do the job again.
    """
    called = [CallRecord(*values) for values in calls]
    stored = [EntryRecord(**values) for values in entries]
    try:
        ledger.write(called, stored, lost, batch_id)
    except (DataError, IntegrityError):
        if batch_id is not None and _is_written(batch_id):
            return  # another worker has got the same task
        ledger.write([], [], lost, batch_id)
        _write_singly(called, stored)


def _is_written(batch_id: str) -> bool:
    # Not in a replica, which may lag behind.
    return RecordBatch.objects.using(ledger.database()).filter(pk=batch_id).exists()


def _write_singly(calls: Sequence[CallRecord], entries: Sequence[EntryRecord]) -> None:
    """Write a batch in which something cannot be written, all but that."""
    singles: list[tuple[list[CallRecord], list[EntryRecord]]] = [([], [e]) for e in entries]
    singles += [([call], []) for call in calls]
    for single in singles:
        try:
            ledger.write(*single)
        except (DataError, IntegrityError) as error:
            ledger.write([], [], 1)
            events.warn_once("record_error", "A record cannot be written: %r", error)


# --- keeping house ---


def sweep_expired(limit: int = sweeping.BATCH, batches: int = 100) -> dict[str, Any]:
    """Delete what has expired: in stores that need it, the index and the logs.

    Args:
        limit: how much of each kind at a time.
        batches: how many times at most.

    Returns:
        What was deleted, and `problems`, what stores that failed have said.
    """
    return asdict(sweeping.total(sweeping.sweep_all(limit, batches=batches)))


def rollup_hours() -> int:
    """Make days of old hours; how many rows that spared."""
    return rollup.roll_up()


def evict_matching(filters: Mapping[str, Any], by: str = "", reason: str = "") -> dict[str, Any]:
    """Remove all entries that match, from all processes, but for pinned ones.

    Args:
        filters: lookups of Entry, such as `{"model": "m", "expires__lte": "2026-01-31T00:00Z"}`,
            and those questions of its QuerySet that no lookup asks: `live`, `expired` (True),
            `tagged` (a list), `with_digest_prefix` (text), `cold` (seconds). None: all entries.
        by, reason: for the eviction log.

    Returns:
        `removed` and `skipped`, how many entries.

    Raises:
        InvalidRequest: Entry has no such lookup, or it takes no such value.
        StoreFailed: some entries stayed, as their store failed.
    """
    matching = entries_matching(filters)
    skipped = matching.pinned().count()
    words = orjson.dumps(filters, default=str).decode()
    done = maintenance.evict_entries(
        matching.filter(pinned=False), what=words, reason=reason, by=by
    )
    if done.failed:
        said = "; ".join(f"{alias}: {problem}" for alias, problem in done.problems.items())
        raise StoreFailed(f"{done.removed} entries removed, {done.failed} not: {said}")
    return {"removed": done.removed, "skipped": skipped}


_QUESTIONS: Final[dict[str, Callable[[EntryQuerySet, Any], EntryQuerySet]]] = {
    "live": lambda entries, value: entries.live() if value else entries,
    "expired": lambda entries, value: entries.expired() if value else entries,
    "tagged": lambda entries, value: entries.tagged(*value),
    "with_digest_prefix": lambda entries, value: entries.with_digest_prefix(value),
    "cold": lambda entries, value: entries.cold(timedelta(seconds=value)),
}


def entries_matching(filters: Mapping[str, Any]) -> EntryQuerySet:
    """The entries that filters as of `evict_matching` name.

    Raises:
        InvalidRequest: Entry has no such lookup, or it takes no such value.
    """
    return narrowed(Entry.objects.all(), filters)


def narrowed(entries: EntryQuerySet, filters: Mapping[str, Any]) -> EntryQuerySet:
    """Those of some entries that filters as of `evict_matching` name.

    Raises:
        InvalidRequest: Entry has no such lookup, or it takes no such value.
    """
    try:
        for name, value in filters.items():
            ask = _QUESTIONS.get(name)
            entries = ask(entries, value) if ask else entries.filter(**{name: value})
    except (FieldError, ValidationError, TypeError, ValueError) as error:
        raise InvalidRequest(f"Entries cannot be filtered by {name!r}: {error}") from error
    return entries


# --- asking ---


def refresh_entry(alias: str, digest: str, request: Mapping[str, Any] | None = None) -> bool:
    """Ask upstream again for an entry's answer and store that.

    Args:
        request: the call, as `llmcache.revalidation` sends it for a stale answer that has served:
            then only if nobody has renewed it since. Without it the call is taken from the index.

    Returns:
        Whether upstream was asked.

    Raises:
        EntryGone: the index has no such entry, or the settings no such store.
        NotRepeatable: what is known of the call is not enough, or the settings have changed.
        UpstreamError: the provider failed.
    """
    if request is not None:
        return refreshing.renew(alias, digest, request)
    entry = Entry.objects.filter(alias=alias, digest=digest).first()
    if entry is None:
        raise EntryGone(f"The index has no entry {digest!r} of {alias!r}.")
    refreshing.refresh(entry)
    return True


def warm(
    requests: Sequence[Mapping[str, Any]], concurrency: int = 4, alias: str | None = None
) -> dict[str, Any]:
    """Make calls, so that their answers are cached.

    Args:
        requests: arguments of `completion()`, or of the function that `kind` names.

    Returns:
        How many calls ended in each outcome, and under `errors` those that failed: text by the
        request's place in the list, from 0.
    """
    outcomes: dict[str, Any] = {}
    errors: dict[str, str] = {}
    numbered = enumerate(requests)
    for done in warming.warm(numbered, concurrency=concurrency, alias=alias):
        if done.error:
            errors[str(done.number)] = done.error
        else:
            outcomes[done.outcome] = outcomes.get(done.outcome, 0) + 1
    return {**outcomes, "errors": errors}


# --- starting ---

JOBS: Final[dict[str, Callable[..., Any]]] = {
    job.__name__: task_queue.in_place()(job)
    for job in (
        write_items,
        flush_records,
        sweep_expired,
        rollup_hours,
        evict_matching,
        refresh_entry,
        warm,
    )
}
"""The functions above by their names. What they store, they store themselves: see `in_place`."""


def start(task: str, **arguments: Any) -> bool:
    """Have a job done, by the task queue that WRITER names if it takes it, else by a thread of this
    process, which ends with the process.

    Args:
        task: the name of a function above.
        arguments: its arguments.

    Returns:
        Whether a queue has taken it.

    Raises:
        InvalidRequest: there is no such job, or an argument is not JSON.
    """
    if task not in JOBS:
        raise InvalidRequest.unknown("job", task, JOBS)
    try:
        orjson.dumps(arguments)
    except TypeError as error:
        raise InvalidRequest(f"The arguments of {task} must be JSON values: {error}") from error
    queue = task_queue.chosen()
    if queue is not None and task_queue.send(queue, task, **arguments):
        return True
    if threads.started(_run_in_thread, task, task, arguments) is None:
        _run(task, arguments)
    return False


def _run_in_thread(task: str, arguments: Mapping[str, Any]) -> None:
    try:
        _run(task, arguments)
    finally:
        connections.close_all()


def _run(task: str, arguments: Mapping[str, Any]) -> None:
    try:
        JOBS[task](**arguments)
    except Exception:
        events.count("job_error")
        events.logger.exception("The job %s failed", task)
