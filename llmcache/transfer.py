"""Entries out of their stores into a file, and back: a backup, or the way to another site.

A file begins with a line that says what it is; each further line is one entry, whole: answer,
lifetime, tags and what the index knows (`llmcache.export_lines`). Nothing is signed: whoever
imports a file vouches for it, and entries are sealed anew with the importing site's key.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import time
from typing import Final

import orjson

from llmcache import backends, conf, export_lines, keys, ledger
from llmcache.backends.base import BaseBackend, Item
from llmcache.envelope import EnvelopeError, seal, unseal
from llmcache.exceptions import LLMCacheError
from llmcache.export_lines import Arrived, Damaged, finite
from llmcache.models import Entry
from llmcache.querysets import EntryQuerySet
from llmcache.records import EntryRecord
from llmcache.store import backend_of
from llmcache.text import PREVIEW_LENGTH, clean
from llmcache.tombstones import RESEALED

_AT_A_TIME: Final = 200


# --- out ---


@dataclass(slots=True)
class Export:
    """The lines of some entries, and what became of those that have none.

    Attributes:
        written: entries so far.
        gone: entries that their store does not have any more, or that do not open.
        problems: what stores that failed have said, by alias.
    """

    entries: EntryQuerySet
    written: int = 0
    gone: int = 0
    problems: dict[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[bytes]:
        """The file's lines, each with its end."""
        yield export_lines.first()
        last = 0
        rows = self.entries.order_by("pk")
        while batch := list(rows.filter(pk__gt=last)[:_AT_A_TIME]):
            last = batch[-1].pk
            by_alias: defaultdict[str, list[Entry]] = defaultdict(list)
            for entry in batch:
                by_alias[entry.alias].append(entry)
            for alias, some in by_alias.items():
                yield from self._lines_of(alias, some)

    def _lines_of(self, alias: str, entries: list[Entry]) -> Iterator[bytes]:
        backend = backend_of(alias)
        if backend is None:
            self.problems[alias] = "the settings have no store of this alias"
            return
        try:
            found = backend.present([entry.digest for entry in entries])
        except Exception as error:
            self.problems[alias] = f"{type(error).__name__}: {error}"
            return
        for entry in entries:
            try:
                data = found[entry.digest]
                envelope = unseal(entry.digest, data, signed=not backend.process_local)
            except (KeyError, EnvelopeError):
                self.gone += 1
                continue
            self.written += 1
            yield export_lines.line(entry, envelope)


# --- in ---


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a line.

    Attributes:
        number: of the line, from 1.
        what: "stored", "expired", "kept" (the store has the same entry or a newer one), "damaged"
            or "failed".
        why: of a line that is damaged or failed.
    """

    number: int
    what: str
    why: str = ""


def imported(
    lines: Iterable[bytes],
    *,
    alias: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> Iterator[Imported]:
    """Store the entries of a file, and yield what became of each line.

    Args:
        alias: the store for all of them; otherwise each goes to the alias it was exported from.
        overwrite: replace newer entries too.
        dry_run: only check the lines.

    Raises:
        InvalidRequest: the file is no export, or of a newer format.
        DatabaseError: the last entries are stored, but the index could not be told of them.
    """
    numbered = enumerate(lines, 1)
    export_lines.check_first(next(numbered, (1, b""))[1])
    waiting: list[tuple[int, Arrived]] = []
    for number, line in numbered:
        if not line.strip():
            continue
        try:
            entry = export_lines.parsed(line, alias)
        except Damaged as error:
            yield Imported(number, "damaged", str(error))
            continue
        if entry.envelope.stale_until <= time():
            yield Imported(number, "expired")
            continue
        if dry_run:
            yield Imported(number, "stored")
            continue
        waiting.append((number, entry))
        if len(waiting) >= _AT_A_TIME:
            yield from _store(waiting, overwrite)
            waiting = []
    yield from _store(waiting, overwrite)


def _store(entries: list[tuple[int, Arrived]], overwrite: bool) -> Iterator[Imported]:
    by_alias: defaultdict[str, dict[str, tuple[int, Arrived]]] = defaultdict(dict)
    for number, entry in entries:
        by_alias[entry.alias][entry.digest] = number, entry
    for alias, some in by_alias.items():
        backend = backends.stores[alias]
        try:
            present = {} if overwrite else backend.present(some)
            kept = {d for d, (_, e) in some.items() if _has(present.get(d), e)}
            items = [_item(e, backend) for d, (_, e) in some.items() if d not in kept]
            if items:
                backend.set_many(items)
        except Exception as error:
            for number, _ in some.values():
                yield Imported(number, "failed", f"{alias}: {type(error).__name__}: {error}")
            continue
        records = [_record(some[item.digest][1], len(item.data)) for item in items]
        ledger.write([], records, restored=True)
        for digest, (number, _) in some.items():
            yield Imported(number, "kept" if digest in kept else "stored")


def _has(data: bytes | None, entry: Arrived) -> bool:
    """Whether the store has this entry already, or one that was made later."""
    try:
        return data is not None and (unseal(entry.digest, data).created >= entry.envelope.created)
    except EnvelopeError:
        return False


def _item(entry: Arrived, backend: BaseBackend) -> Item:
    envelope = entry.envelope
    data = seal(
        entry.digest,
        envelope.payload,
        created=envelope.created,
        expires=envelope.expires,
        stale_until=envelope.stale_until,
        is_stream=envelope.is_stream,
        header={**envelope.header, RESEALED: time()},
        compress_min_bytes=conf.config().compress_min_bytes,
    )
    left = envelope.stale_until - time()
    return Item(entry.digest, data, None if math.isinf(left) else max(0.001, left))


def _record(entry: Arrived, size: int) -> EntryRecord:
    envelope = entry.envelope
    record = EntryRecord(
        alias=entry.alias,
        digest=entry.digest,
        created=envelope.created,
        expires=finite(envelope.expires),
        kept_until=finite(envelope.stale_until),
        size=size,
        header=envelope.header,
    )
    material = entry.material.encode("utf-8", "replace")
    if _is_whole(material, entry.digest):  # what of it may be kept, this site's settings say
        record.material = material
    else:
        record.shown = clean(entry.material)
        if conf.config().store_prompts != "none":
            record.preview = clean(entry.preview, PREVIEW_LENGTH)
    return record


def _is_whole(material: bytes, digest: str) -> bool:
    try:
        return bool(material) and keys.digest_of(orjson.loads(material)) == digest
    except (ValueError, TypeError, LLMCacheError):
        return False
