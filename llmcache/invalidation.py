"""Evictions as every process learns of them: written to the eviction log, read by the flusher.

Removing an entry takes three steps, in this order, so that no process can keep what was removed:
the operation is written to the log, the entries that the index knows are deleted from their stores,
and what was deleted is written to the log too. A process applies what it reads to the stores in its
own memory. An entry that was still on its way into the index when it was evicted is caught by
`overtaken`, once its row is written: either the evicting process sees the row, or this one sees the
eviction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final

from django.db import connections, router, transaction
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from llmcache import conf, events
from llmcache.backends.base import BaseBackend
from llmcache.envelope import EnvelopeError, unseal
from llmcache.models import Eviction
from llmcache.querysets import EvictionQuerySet
from llmcache.records import EntryRecord
from llmcache.store import Store, backend_of, living, names_of
from llmcache.text import ALIAS_LENGTH, REASON_LENGTH, clean, name_of
from llmcache.tombstones import ALL, EVERYWHERE, MOST, tombstones

What = Eviction.What

_LATE: Final = timedelta(minutes=5)
"""So late may a row become visible, and so far may the machines' clocks be apart."""


def database() -> str:
    """The alias of the database that has the log. It is read there too: a replica may lag behind,
    and then neither side of a race would see the other.
    """
    return router.db_for_write(Eviction)


def publish(
    what: str,
    *,
    alias: str = "",
    value: str = "",
    digests: Sequence[str] = (),
    reason: str = "",
    by: str = "",
    created: datetime | None = None,
) -> Eviction:
    """Write an operation to the log, before anything is removed.

    Args:
        digests: the entries, where they are named one by one.
        created: since when what was stored before is evicted; now if not given.
    """
    eviction = Eviction.objects.create(
        created=created or timezone.now(),
        what=what,
        alias=clean(alias, ALIAS_LENGTH),
        value=name_of(value),
        digests="\n".join(digests),
        reason=clean(reason, REASON_LENGTH),
        by=name_of(by),
    )
    poller.own(eviction)
    return eviction


def publish_part(operation: Eviction, alias: str, digests: Sequence[str]) -> Eviction:
    """Write to the log that these entries are gone from their store."""
    part = Eviction.objects.create(
        what=What.ENTRIES,
        alias=clean(alias, ALIAS_LENGTH),
        digests="\n".join(digests),
        number=len(digests),
        part_of=operation,
    )
    poller.own(part)
    return part


def at_commit(eviction: Eviction, again: Callable[[], object]) -> None:
    """Within a transaction, have an operation done once more when that is committed: until then
    other processes could not see it, and answered from what was there before the transaction.
    """
    using = database()

    def renew() -> None:
        rows = Eviction.objects.using(using).filter(Q(pk=eviction.pk) | Q(part_of=eviction.pk))
        eviction.created = timezone.now()
        rows.update(created=eviction.created)
        again()

    if connections[using].in_atomic_block:
        transaction.on_commit(renew, using=using, robust=True)


_COMMON: Final = tuple(what for what in What.values if what != What.ENTRIES)
"""What operations name that do not list their entries."""
_EVICTING: Final = 60.0
"""Seconds: so long an eviction may be at work on entries that were there when it began."""


class Poller:
    """Reads the log's new rows and applies them to this process's own memory."""

    def __init__(self) -> None:
        self._read_at = monotonic()
        self._seen: dict[int, float] = {}
        self._remembers = False

    def own(self, eviction: Eviction) -> None:
        """This process has written the row, and applies it by itself."""

        def note() -> None:
            self._seen[eviction.pk] = monotonic()

        # Of a transaction that is taken back, the next row may get the same key.
        if connections[database()].in_atomic_block:
            transaction.on_commit(note, using=database())
        else:
            note()

    def poll(self) -> int:
        """Apply what is new; how many rows that was. Raises what the database raises."""
        began = monotonic()
        since = timezone.now() - _LATE - timedelta(seconds=began - self._read_at)
        log = Eviction.objects.using(database()).order_by("pk").select_related("part_of")
        if not self._remembers:
            _remember(log)
            self._remembers = True
        recent = log.since(since).values_list("pk", flat=True)
        new = [pk for pk in recent if pk not in self._seen]
        for start in range(0, len(new), 100):
            for eviction in log.filter(pk__in=new[start : start + 100]):
                apply(eviction)
                self._seen[eviction.pk] = began
        self._read_at = began
        self._forget()
        return len(new)

    def _forget(self) -> None:
        if len(self._seen) > 1000:
            old = monotonic() - 3 * _LATE.total_seconds()
            self._seen = {pk: seen for pk, seen in self._seen.items() if seen > old}


def _remember(log: EvictionQuerySet) -> None:
    """Read what was evicted before this process began, as plain values: it may be much."""
    named = log.filter(part_of=None, what__in=_COMMON)
    first = named.reverse().values_list("pk", flat=True)[MOST - 1 : MOST]
    last_ones = named.filter(pk__gte=next(iter(first), 0))
    values = last_ones.values_list("what", "value", "alias", "created")
    for what, value, alias, created in values.iterator(chunk_size=1000):
        _bury_common(what, value, alias, created)
    parts: list[tuple[list[str], str, datetime]] = []
    number = 0
    rows = log.exclude(digests="").reverse()
    given = rows.values_list("digests", "alias", Coalesce("part_of__created", "created"))
    for text, alias, created in given.iterator(chunk_size=20):
        digests = text.split()
        parts.append((digests, alias, created))
        number += len(digests)
        if number >= MOST:
            break
    for digests, alias, created in reversed(parts):
        tombstones.bury(digests, _names(alias), created.timestamp())


poller = Poller()


def apply(eviction: Eviction) -> None:
    """Remove from this process's own memory what the row names, and remember it. Never raises for a
    store.
    """
    digests = eviction.digests.split()
    _bury(eviction, digests)
    for store in living():
        if eviction.alias and eviction.alias not in names_of(store.backend):
            continue
        for backend in _own_parts(store):
            try:
                _remove(backend, eviction, digests)
            except Exception as error:
                events.count("evict_error")
                events.logger.warning(
                    "Alias %r could not evict %s: %s", backend.alias, eviction, error
                )


def _bury(eviction: Eviction, digests: Sequence[str]) -> None:
    operation = eviction.part_of or eviction
    if operation.what == What.ENTRIES or eviction is not operation:
        tombstones.bury(digests, _names(eviction.alias), operation.created.timestamp())
    else:
        _bury_common(operation.what, operation.value, eviction.alias, operation.created)


def _bury_common(what: str, value: str, alias: str, created: datetime) -> None:
    name = ALL if what == What.ALIAS else (what, value)
    tombstones.bury_all(*name, _names(alias), created.timestamp())


def _names(alias: str) -> set[str]:
    """The aliases that show the entries which are evicted under this one."""
    if not alias:
        return {EVERYWHERE}
    try:
        backend = backend_of(alias)
    except Exception:  # the checks tell why it cannot be made
        backend = None
    return {alias} if backend is None else names_of(backend)


def _remove(backend: BaseBackend, eviction: Eviction, digests: Sequence[str]) -> None:
    if digests:
        backend.delete_many(digests)
    elif eviction.what == What.ALIAS:
        backend.clear()
    elif eviction.what != What.ENTRIES and backend.process_local and backend.supports_iterate:
        # A store that others share too is not looked through: it may be as large as it likes. What
        # the index knows of it is named by digest, and what it does not, `tombstones` refuse.
        backend.delete_many(list(_matching(backend, eviction)))


def _matching(backend: BaseBackend, eviction: Eviction) -> Iterator[str]:
    for digest in list(backend.iterate()):
        data = backend.present([digest]).get(digest)
        if data is None:
            continue
        try:
            header = unseal(digest, data, signed=not backend.process_local).header
        except EnvelopeError:
            continue
        if _is_about(eviction, header):
            yield digest


def _is_about(eviction: Eviction, header: dict[str, Any]) -> bool:
    """Whether an operation by tag, namespace, scope or model names an entry with this header."""
    if eviction.what == What.TAG:
        return any(name_of(tag) == eviction.value for tag in header.get("tags", ()))
    if eviction.what in (What.NAMESPACE, What.SCOPE, What.MODEL):
        return name_of(header.get(eviction.what)) == eviction.value
    return False


def _own_parts(store: Store) -> list[BaseBackend]:
    """What of a store other processes cannot reach: its memory, or all of it if the settings do not
    name it.
    """
    if store.alias not in conf.backends():
        return [store.backend]
    return _in_memory(store.backend)


def _in_memory(backend: BaseBackend) -> list[BaseBackend]:
    if backend.layers:
        return [part for layer in backend.layers for part in _in_memory(layer)]
    return [backend] if backend.process_local else []


def overtaken(records: Iterable[EntryRecord]) -> list[tuple[Eviction, EntryRecord]]:
    """New entries whose calls had begun before an eviction that names them.

    To be asked once the entries' rows are committed.
    """
    begun = [(_begun(record), record) for record in records]
    if not begun:
        return []
    first = min(moment for moment, _ in begun)
    found = []
    log = Eviction.objects.using(database())
    for eviction in log.since(first).select_related("part_of"):
        operation = eviction.part_of or eviction
        digests = frozenset(eviction.digests.split())
        for moment, record in begun:
            if moment < operation.created and _is_named(eviction, digests, record):
                found.append((operation, record))
    return found


def _begun(record: EntryRecord) -> datetime:
    begun = record.created - record.header.get("seconds", 0.0)
    if record.lengthened is not None:  # an eviction before that has found it
        begun = max(begun, record.lengthened - _EVICTING)
    return datetime.fromtimestamp(begun, UTC)


def _is_named(eviction: Eviction, digests: frozenset[str], record: EntryRecord) -> bool:
    if eviction.alias and eviction.alias != record.alias:
        return False
    if digests:
        return record.digest in digests
    return eviction.what == What.ALIAS or _is_about(eviction, record.header)
