"""The lines of an export: each one entry as JSON, written, and read with everything checked.

An entry that is imported is sealed with the site's own key: from then on it is taken for one of our
own. So nothing may pass here that we would not have written.
"""

from __future__ import annotations

import math
import re
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass
from time import time
from typing import Any, Final

import orjson

from llmcache import backends, conf, engine, policy
from llmcache.calls import ALL_KINDS
from llmcache.envelope import Envelope
from llmcache.exceptions import InvalidRequest, LLMCacheError
from llmcache.figures import moment
from llmcache.models import Entry
from llmcache.streams import OWN_KINDS, USAGE_CHUNKS, usage_chunks
from llmcache.usage import Usage

FORMAT: Final = 1
_DIGEST: Final = re.compile("[0-9a-f]{64}")


class Damaged(LLMCacheError):
    """A line is no entry; the text says why."""


# --- out ---


def first() -> bytes:
    """The line that says what a file is."""
    return orjson.dumps({"llmcache_export": FORMAT, "exported": time()}) + b"\n"


def line(entry: Entry, envelope: Envelope) -> bytes:
    """One entry."""
    values: dict[str, Any] = {
        "digest": entry.digest,
        "alias": entry.alias,
        "created": envelope.created,
        "expires": finite(envelope.expires),
        "stale_until": finite(envelope.stale_until),
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


def finite(moment: float) -> float | None:
    """A moment as a file and the index have it: None for no end."""
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


def check_first(line: bytes) -> None:
    """Raise InvalidRequest if a file does not begin as an export of this format."""
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
        _check_moments(envelope)
        _check_answer(header["kind"], envelope)
        return Arrived(
            place, values["digest"], envelope, str(values["preview"]), str(values["material"])
        )
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:
        raise Damaged(f"{type(error).__name__}: {error}") from error


def _moment(value: float | None) -> float:
    return math.inf if value is None else float(value)


def _check_header(header: dict[str, Any]) -> None:
    """Whoever reads an entry takes its header for one of ours, which it must be therefore."""
    if header["kind"] not in ALL_KINDS:
        raise Damaged(f"its call type is {header['kind']!r}")
    for name in ("model", "namespace", "scope", "priced_as", "answered_by"):
        if not isinstance(header.get(name, ""), str):
            raise Damaged(f"its {name} is no text")
    tags = header.get("tags", [])
    if not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        raise Damaged("its tags are no list of texts")
    usage = asdict(Usage(**header["usage"]))
    for name, number in {**usage, "seconds": header.get("seconds", 0.0)}.items():
        if type(number) not in (int, float):
            raise Damaged(f"its {name} is no number")


def _check_answer(kind: str, envelope: Envelope) -> None:
    if not isinstance(policy.readable(kind, engine.body_of(kind, envelope)), dict):
        raise Damaged("its answer is no JSON object")
    if envelope.is_stream and kind not in OWN_KINDS:  # whoever replays it relies on these
        envelope.header[USAGE_CHUNKS] = usage_chunks(engine.chunks_of(kind, envelope))


def _check_moments(envelope: Envelope) -> None:
    """Raise what `moment` raises for one that the index cannot have."""
    moment(envelope.created)
    moment(envelope.created - envelope.header.get("seconds", 0.0))
    for end in (envelope.expires, envelope.stale_until):
        if end != math.inf:
            moment(end)
