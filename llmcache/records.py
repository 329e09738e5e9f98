"""What the recorder notes of a call and of a new entry, before it becomes rows.

A record holds no answer and no open file, so a full buffer stays small. Both kinds go to JSON and
back, for sites whose task queue writes the rows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import orjson

Noted = bytes | dict[str, Any] | None
"""An entry's header: its JSON, parsed or not yet."""


class CallRecord(NamedTuple):
    """One call, as it ended; `llmcache.models.Call` says what each field means.

    `at` is in unix seconds; `noted` is the header of the answer's entry, with usage in it.
    """

    at: float
    outcome: str
    reason: str
    alias: str
    digest: str | None
    kind: str
    model: str
    namespace: str | None
    scope: str | None
    caller: str | None
    layer: str
    streamed: bool
    latency: float
    age: float
    similarity: float | None
    lookup_cost: float
    served: bool
    noted: Noted

    def header(self) -> dict[str, Any]:
        """The header, parsed."""
        noted = self.noted
        if isinstance(noted, bytes):
            noted = orjson.loads(noted) if noted else {}
        return noted if isinstance(noted, dict) else {}

    def as_json(self) -> list[Any]:
        """The record as a task takes it."""
        return [*self[:-1], self.header()]


@dataclass(slots=True, kw_only=True)
class EntryRecord:
    """One entry that a store has taken.

    Attributes:
        lengthened: when the entry, which was there already, got a later end; None for a new one.
        material: canonical JSON of what its key is made of; b"" where there is none.
        preview, shown: what of it may be kept, once `describe` has been called.
        created, expires, kept_until: unix seconds; None for no end.
        size: bytes in the store.
        header: what the entry notes about itself: model, usage, seconds, tags, namespace, scope.
    """

    alias: str
    digest: str
    created: float
    expires: float | None
    kept_until: float | None
    size: int
    header: dict[str, Any]
    material: bytes = b""
    preview: str = ""
    shown: str = ""
    lengthened: float | None = None

    def describe(self) -> None:
        """Reduce the prompt to what the settings let the index keep."""
        from llmcache.prompts import described

        if self.material:
            self.preview, self.shown = described(self.material)
            self.material = b""

    def as_json(self) -> dict[str, Any]:
        """The record as a task takes it: without anything of the prompt that may not be kept."""
        self.describe()
        values = asdict(self)
        del values["material"]
        return values
