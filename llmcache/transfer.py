"""Entries as lines of JSON, to be kept as a backup or taken to another site.

A file begins with a line that says what it is; each further line is one entry, whole: answer,
lifetime, tags and what the index knows. Nothing is signed: whoever imports a file vouches for it,
and entries are sealed anew with the importing site's key.
"""

from __future__ import annotations

import math
import re
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import time
from typing import Any, Final

import orjson

from llmcache import backends, conf, engine, keys, ledger
from llmcache.backends.base import BaseBackend, Item
from llmcache.calls import ALL_KINDS
from llmcache.envelope import Envelope, EnvelopeError, seal, unseal
from llmcache.exceptions import InvalidRequest, LLMCacheError
from llmcache.models import Entry
from llmcache.querysets import EntryQuerySet
from llmcache.records import EntryRecord
from llmcache.store import backend_of
from llmcache.text import PREVIEW_LENGTH, clean
from llmcache.tombstones import RESEALED
from llmcache.usage import Usage

FORMAT: Final = 1
_AT_A_TIME: Final = 200
_DIGEST: Final = re.compile("[0-9a-f]{64}")


class Damaged(LLMCacheError):
    """A line is no entry; the text says why."""


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
        yield orjson.dumps({"llmcache_export": FORMAT, "exported": time()}) + b"\n"
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
            yield _line(entry, envelope)


def _line(entry: Entry, envelope: Envelope) -> bytes:
    values: dict[str, Any] = {
        "digest": entry.digest,
        "alias": entry.alias,
        "created": envelope.created,
        "expires": _finite(envelope.expires),
        "stale_until": _finite(envelope.stale_until),
        "stream": envelope.is_stream,
        "header": envelope.header,
        "preview": entry.preview,
        "material": entry.material,
    }
    try:
        values["payload"] = envelope.payload.decode()
    except UnicodeDecodeError:
        values["payload_base64"] = b64encode(envelope.payload).decode()
    return orjson.dumps(values) + b"\n"


def _finite(moment: float) -> float | None:
    return moment if math.isfinite(moment) else None


# --- in ---


@dataclass(frozen=True, slots=True)
class Arrived:
    """One entry of a file, checked."""

    alias: str
    digest: str
    envelope: Envelope
    preview: str
    material: str


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
    _check_first(next(numbered, (1, b""))[1])
    waiting: list[tuple[int, Arrived]] = []
    for number, line in numbered:
        if not line.strip():
            continue
        try:
            entry = parsed(line, alias)
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


def _check_first(line: bytes) -> None:
    try:
        version = orjson.loads(line)["llmcache_export"]
    except (ValueError, TypeError, KeyError):
        raise InvalidRequest("This is no export: its first line does not say so.") from None
    if version != FORMAT:
        raise InvalidRequest(
            f"This export has the format {version!r}; this release reads {FORMAT}."
        )


def parsed(line: bytes, alias: str | None = None) -> Arrived:
    """One line as an entry.

    Raises:
        Damaged: it is none.
    """
    try:
        values = orjson.loads(line)
        header = values["header"]
        place = values["alias"] if alias is None else alias
        payload = (
            values["payload"].encode()
            if "payload" in values
            else b64decode(values["payload_base64"], validate=True)
        )
        envelope = Envelope(
            float(values["created"]),
            _moment(values["expires"]),
            _moment(values["stale_until"]),
            bool(values["stream"]),
            b"",
            payload,
        )
        envelope.note(header)
        if not isinstance(values["digest"], str) or not _DIGEST.fullmatch(values["digest"]):
            raise Damaged("its digest is not 64 hexadecimal characters")
        if place not in conf.backends():
            raise Damaged(f"LLMCACHE has no alias {place!r}; give one to import to")
        if backends.stores[place].process_local:
            raise Damaged(f"the store {place!r} is in the memory of each process")
        _check_header(header)
        orjson.loads(engine.body_of(header["kind"], envelope))
        return Arrived(
            place, values["digest"], envelope, str(values["preview"]), str(values["material"])
        )
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise Damaged(f"{type(error).__name__}: {error}") from error


def _moment(value: float | None) -> float:
    return math.inf if value is None else float(value)


def _check_header(header: dict[str, Any]) -> None:
    if header["kind"] not in ALL_KINDS:
        raise Damaged(f"its call type is {header['kind']!r}")
    for name in ("model", "namespace", "scope"):
        if not isinstance(header.get(name, ""), str):
            raise Damaged(f"its {name} is no text")
    if not all(isinstance(tag, str) for tag in header.get("tags", [])):
        raise Damaged("its tags are no list of texts")
    float(header.get("seconds", 0.0))
    usage = Usage(**header.get("usage", {}))
    float(usage.total + usage.cached)


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
        expires=_finite(envelope.expires),
        kept_until=_finite(envelope.stale_until),
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
