"""Records of calls and entries, as the drivers would leave them."""

from __future__ import annotations

from hashlib import sha256
from time import time
from typing import Any

import orjson

from llmcache.records import CallRecord, EntryRecord

USAGE = {"input": 100, "output": 20, "cached": 10}


def digest(number: object) -> str:
    """A digest of its own for each number."""
    return sha256(str(number).encode()).hexdigest()


def header(**changes: Any) -> dict[str, Any]:
    """What an entry notes about itself."""
    return {"kind": "completion", "model": "gpt-4o-mini", "usage": USAGE, "seconds": 2.0, **changes}


def called(outcome: str = "hit", number: object = 1, **changes: Any) -> CallRecord:
    """A call that took half a millisecond, or as `changes` say."""
    record = CallRecord(
        at=time(),
        outcome=outcome,
        reason="",
        alias="default",
        digest=digest(number),
        kind="completion",
        model="gpt-4o-mini",
        namespace=None,
        scope=None,
        caller=None,
        layer="default",
        streamed=False,
        latency=0.0005,
        age=1.0,
        similarity=1.0,
        lookup_cost=0.0,
        served=outcome in ("hit", "stale", "coalesced"),
        noted=orjson.dumps(header()),
    )
    return record._replace(**changes)


def stored(number: object = 1, *, ttl: float = 60, **changes: Any) -> EntryRecord:
    """An entry made now; `changes` of the record, or, by names that it has not, of its header."""
    names = set(EntryRecord.__dataclass_fields__)
    now = float(changes.get("created", time()))
    own = {name: value for name, value in changes.items() if name in names}
    rest = {name: value for name, value in changes.items() if name not in names}
    given: dict[str, Any] = {
        "alias": "default",
        "digest": digest(number),
        "created": now,
        "expires": now + ttl,
        "kept_until": now + ttl,
        "size": 10,
        "header": header(**rest),
        "material": orjson.dumps({"params": {"messages": [{"role": "user", "content": "hello"}]}}),
    }
    return EntryRecord(**{**given, **own})
