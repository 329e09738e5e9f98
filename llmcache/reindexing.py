"""The index made anew from the stores: rows for entries that have none, and none for those gone.

A store that can list its entries tells all that the index needs but the prompt: an entry's header
has its model, usage, tags, namespace and scope.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from llmcache import backends, conf, ledger
from llmcache.backends.base import BaseBackend
from llmcache.envelope import Envelope, EnvelopeError, unseal
from llmcache.exceptions import InvalidRequest
from llmcache.matching import pairs
from llmcache.models import Entry
from llmcache.records import EntryRecord

_AT_A_TIME: Final = 500


@dataclass(frozen=True, slots=True)
class Step:
    """What one batch came to.

    Attributes:
        seen: entries or rows that were looked at.
        indexed: rows written.
        unreadable: entries that do not open: damaged, forged or of another key.
        pruned: rows deleted, or to be deleted, as their entry is gone.
    """

    seen: int
    indexed: int = 0
    unreadable: int = 0
    pruned: int = 0


def listable() -> list[str]:
    """The aliases whose entries a command can list and read: not those in another process's memory,
    nor those that are only layers of another alias.
    """
    all_stores = [backends.stores[alias] for alias in conf.backends()]
    layers = {layer.alias for store in all_stores for layer in store.layers}
    return [
        store.alias
        for store in all_stores
        if store.supports_iterate and not store.process_local and store.alias not in layers
    ]


def _shared(alias: str) -> BaseBackend:
    backend = backends.stores[alias]
    if backend.process_local:
        raise InvalidRequest(
            f"The store {alias!r} is in the memory of each process: no other one can look into it."
        )
    return backend


def reindex(alias: str, *, dry_run: bool = False) -> Iterator[Step]:
    """Write the rows of a store's entries that the index does not know, batch by batch.

    Args:
        dry_run: only count them.

    Raises:
        InvalidRequest: the store cannot list its entries, or is in another process's memory.
        DatabaseError: the database failed; the batches before are written.
        Exception: what the store raises.
    """
    backend = _shared(alias)
    if not backend.supports_iterate:
        raise InvalidRequest(f"The store {alias!r} cannot list its entries.")
    digests = iter(backend.iterate())
    while batch := list(islice(digests, _AT_A_TIME)):
        known = {row.digest: row for row in Entry.objects.filter(alias=alias, digest__in=batch)}
        records = []
        unreadable = 0
        for digest, data in backend.present(batch).items():
            try:
                envelope = unseal(digest, data)
                if envelope.header.get("kind") == pairs.KIND:
                    continue  # it blocks a rejected pair and answers nothing
                record = _record(alias, digest, envelope, len(data), known.get(digest))
            except (EnvelopeError, ValueError):
                unreadable += 1
                continue
            if record is not None:
                records.append(record)
        if not dry_run:
            ledger.write([], records)
        yield Step(len(batch), indexed=len(records), unreadable=unreadable)


def _record(
    alias: str, digest: str, envelope: Envelope, size: int, row: Entry | None
) -> EntryRecord | None:
    """What the index is to know of an entry; None if it knows that already."""
    if row is not None and abs(row.created.timestamp() - envelope.created) < 0.001:
        return None
    return EntryRecord(
        alias=alias,
        digest=digest,
        created=envelope.created,
        expires=None if math.isinf(envelope.expires) else envelope.expires,
        kept_until=None if math.isinf(envelope.stale_until) else envelope.stale_until,
        size=size,
        header=envelope.header,
        # The same digest is the same prompt.
        preview=row.preview if row else "",
        shown=row.material if row else "",
    )


def prune(alias: str, *, dry_run: bool = False) -> Iterator[Step]:
    """Delete the rows of entries that the store does not have any more, batch by batch.

    Args:
        dry_run: only count them.

    Raises:
        InvalidRequest: the store is in another process's memory.
        DatabaseError: the database failed; the batches before are done.
        Exception: what the store raises.
    """
    backend = _shared(alias)
    rows = Entry.objects.filter(alias=alias).order_by("pk").values_list("pk", "digest")
    last = 0
    while batch := list(rows.filter(pk__gt=last)[:_AT_A_TIME]):
        last = batch[-1][0]
        present = backend.present([digest for _, digest in batch])
        gone = [pk for pk, digest in batch if digest not in present]
        if gone and not dry_run:
            Entry.objects.filter(pk__in=gone).delete()
        yield Step(len(batch), pruned=len(gone))
