"""Why a call hits or misses: its key, what the store has under it, and which entries come near.

Nothing is sent upstream, written or recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import time
from typing import Any, Final

import orjson

from llmcache import conf, engine, keys, prompts
from llmcache.caching import for_alias
from llmcache.calls import KINDS, Call, build
from llmcache.embeddings import split_input
from llmcache.engine import Plan
from llmcache.envelope import Envelope
from llmcache.exceptions import InvalidRequest
from llmcache.models import Entry
from llmcache.outcome import BYPASS, ERROR, HIT, MISS, STALE

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
    neighbours: list[Neighbour] = field(default_factory=list)


def explain(kind: str, arguments: Mapping[str, Any], alias: str) -> list[Explanation]:
    """Explain a call.

    Args:
        kind: "completion" and so on.
        arguments: those of the function: `model`, `messages` and so on.
        alias: of LLMCACHE.

    Returns:
        One explanation; for an embedding call, one for each of its first 20 items.

    Raises:
        InvalidRequest: the function would not take these arguments, or there is no such alias.
        ImproperlyConfigured: the provider's settings are wrong.
    """
    if kind not in KINDS:
        raise InvalidRequest.unknown("call type", kind, KINDS)
    given = dict(arguments)
    call = build(kind, given.pop("model", None), given)
    store = for_alias(alias) if alias in conf.backends() else None
    if store is None and alias not in conf.backends():
        raise InvalidRequest.unknown("alias of LLMCACHE", alias, conf.backends())
    plan = engine.plan(call, store)
    if plan.material is None:
        return [Explanation({}, outcome=BYPASS, reason=plan.reason)]
    if kind != "embedding":
        return [_looked_up(plan, plan.material)]
    items = split_input(call.params["input"])[:_MOST_ITEMS]
    return [_looked_up(plan, keys.item_material(plan.material, item)) for item in items]


def _looked_up(plan: Plan, material: dict[str, Any]) -> Explanation:
    found = Explanation(material, digest=keys.digest_of(material))
    assert plan.store is not None
    try:
        if plan.store.layered is None:
            data = plan.store.backend.get(found.digest)
            found.layer = plan.store.alias
        else:
            data, found.layer = plan.store.layered.get_with_layer(found.digest) or (None, "")
    except Exception as error:
        found.outcome, found.reason = ERROR, f"The store failed: {type(error).__name__}: {error}"
        return found
    envelope = None if data is None else engine.unwrap(plan, found.digest, data)
    if envelope is None:
        found.layer = ""
        found.reason = "no entry" if data is None else "the stored entry cannot be opened"
    else:
        _judged(plan, found, envelope)
    if found.outcome not in (HIT, STALE):
        found.neighbours = _neighbours(plan.call, material, found.digest)
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


def _neighbours(call: Call, material: dict[str, Any], digest: str) -> list[Neighbour]:
    """The entries of the model whose material differs least, of the latest ones."""
    shown = orjson.loads(prompts.described(keys.canonical(material))[1])
    entries = Entry.objects.filter(model=call.model, kind=call.kind).exclude(digest=digest)
    compared = []
    for entry in entries.order_by("-created")[:_MOST_COMPARED]:
        if entry.material:
            differences = keys.diff(shown, orjson.loads(entry.material))
            compared.append(Neighbour(entry, differences))
    return sorted(compared, key=lambda one: len(one.differences))[:3]
