"""Why a call hits or misses: its key, what the store has under it, and which entries come near.

Nothing is sent upstream, written or recorded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import time
from typing import Any, Final

import orjson

from llmcache import conf, engine, keys, prompts
from llmcache.caching import for_alias
from llmcache.calls import KINDS, Call, build
from llmcache.embeddings import split_input
from llmcache.envelope import Envelope
from llmcache.exceptions import InvalidRequest
from llmcache.models import Entry
from llmcache.outcome import BYPASS, ERROR, HIT, MISS, STALE
from llmcache.plans import Plan
from llmcache.text import name_of

_SHA256: Final = re.compile("[0-9a-f]{64}")
_MOST_ITEMS: Final = 20
_MOST_COMPARED: Final = 200


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An indexed entry, and where its key's material differs from the call's: path to (the call's
    value, the entry's).
    """

    entry: Entry
    differences: dict[str, tuple[Any, Any]]


@dataclass(slots=True)
class Explanation:
    """What would become of one call, or of one item of an embedding call.

    Attributes:
        material: what the key is made of.
        digest: "" where the call bypasses the cache.
        outcome: "hit", "stale", "miss", "bypass" or "error"; `reason` says why it is no hit.
        age, left: seconds since the answer was made, and until its ttl ends (None: no end).
        layer: the alias of the layer that has the entry.
        envelope: the stored answer, if it would be served.
        entry: what the index knows under the digest, even if the store has lost it.
        neighbours: for a miss, the entries whose keys differ least.
    """

    material: dict[str, Any]
    digest: str = ""
    outcome: str = MISS
    reason: str = ""
    age: float | None = None
    left: float | None = None
    layer: str = ""
    envelope: Envelope | None = None
    entry: Entry | None = None
    neighbours: list[Neighbour] = field(default_factory=list)


def explain(kind: str, arguments: Mapping[str, Any], alias: str) -> list[Explanation]:
    """Explain a call.

    Args:
        kind: "completion" and so on.
        arguments: those of the function: `model`, `messages` and so on. For a transcription,
            `file` is the sha256 of the file's content: no file of this machine is read.
        alias: of LLMCACHE.

    Returns:
        One explanation; for an embedding call, one for each of its first 20 items.

    Raises:
        InvalidRequest: the function would not take these arguments, or there is no such alias.
        ImproperlyConfigured: the provider's settings are wrong.
    """
    if kind not in KINDS:
        raise InvalidRequest.unknown("call type", kind, KINDS)
    if alias not in conf.backends():
        raise InvalidRequest.unknown("alias of LLMCACHE", alias, conf.backends())
    given = dict(arguments)
    file = given.get("file")
    if kind == "transcription":
        if not (isinstance(file, str) and _SHA256.fullmatch(file)):
            raise InvalidRequest("Give the sha256 of the file's content as `file`, in hexadecimal.")
        given["file"] = b""
    call = build(kind, given.pop("model", None), given)
    plan = engine.plan(call, for_alias(alias))
    if plan.material is not None and "file" in plan.material:
        plan.material["file"] = file
    if plan.material is None:
        return [Explanation({}, outcome=BYPASS, reason=plan.reason)]
    materials = [plan.material]
    if kind == "embedding":
        items = split_input(call.params["input"])[:_MOST_ITEMS]
        materials = [keys.item_material(plan.material, item) for item in items]
    found = [_looked_up(plan, material) for material in materials]
    _compare(call, alias, found)
    return found


def _looked_up(plan: Plan, material: dict[str, Any]) -> Explanation:
    found = Explanation(material, digest=keys.digest_of(material))
    assert plan.store is not None
    backend = plan.store.backend
    problems = []
    data = None
    # A layered store's own read would leave copies in the upper layers.
    for layer in backend.layers or (backend,):
        try:
            data = layer.get(found.digest)
        except Exception as error:
            problems.append(f"{layer.alias} failed: {type(error).__name__}: {error}")
        if data is not None:
            found.layer = layer.alias
            break
    envelope = None if data is None else engine.unwrap(plan, found.digest, data)
    if envelope is not None:
        _judged(plan, found, envelope)
    elif problems:
        found.outcome, found.reason = ERROR, "; ".join(problems)
    else:
        found.reason = "no entry" if data is None else "the stored entry cannot be opened"
    return found


def _judged(plan: Plan, found: Explanation, envelope: Envelope) -> None:
    now = time()
    found.age = max(0.0, now - envelope.created)
    found.left = envelope.expires - now if envelope.expires < float("inf") else None
    if not plan.read:
        found.reason = "the call does not read the cache (no-cache)"
        return
    outcome = engine.judge(plan, envelope, now)
    if outcome:
        found.outcome, found.envelope = outcome, envelope
    else:
        found.reason = plan.reason


def _compare(call: Call, alias: str, found: list[Explanation]) -> None:
    """Add what the index knows: the calls' own entries and, to misses, their neighbours."""
    own = (
        Entry.objects.of_digests(one.digest for one in found).filter(alias=alias).defer("material")
    )
    entries = {entry.digest: entry for entry in own}
    latest = Entry.objects.filter(model=name_of(call.model), kind=call.kind).order_by("-created")
    missed = any(one.outcome not in (HIT, STALE) for one in found)
    others = list(latest.exclude(material="")[:_MOST_COMPARED]) if missed else []
    for one in found:
        one.entry = entries.get(one.digest)
        if one.outcome not in (HIT, STALE):
            one.neighbours = _neighbours(one, others)


def _neighbours(one: Explanation, others: list[Entry]) -> list[Neighbour]:
    """The entries whose material differs least, as far as the index keeps it."""
    shown = orjson.loads(prompts.described(keys.canonical(one.material))[1])
    compared = [
        Neighbour(entry, keys.diff(shown, orjson.loads(entry.material)))
        for entry in others
        if entry.digest != one.digest
    ]
    return sorted(compared, key=lambda near: len(near.differences))[:3]
