"""A call's search for a similar question, in a store that is searched by meaning.

The drivers come here after a miss, and once more with the new answer, which gets the vector that
the search has made. In other stores nothing happens here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from time import time
from typing import TYPE_CHECKING

from llmcache import conf, engine, events
from llmcache.backends.base import Item
from llmcache.envelope import Envelope
from llmcache.outcome import HIT
from llmcache.plans import Plan
from llmcache.store import OWN_WAYS

if TYPE_CHECKING:
    from llmcache.backends.semantic.base import Vector
    from llmcache.matching import Match, Search

Found = tuple[Envelope, str]
"""An entry that answers a call, and the outcome that this is."""


def match(plan: Plan) -> Found | None:
    """The answer to a similar question, if there is one that may serve."""
    asked = search(plan)
    if asked is None or plan.store is None or plan.waited or plan.store.breaker.is_open:
        return None
    try:
        found = asked.matcher.find(asked, partial(_usable, plan))
    except Exception as error:
        engine.read_failed(plan, error)
        return None
    return _noted(plan, asked, found)


async def amatch(plan: Plan) -> Found | None:
    """As `match`."""
    asked = search(plan)
    if asked is None or plan.store is None or plan.waited or plan.store.breaker.is_open:
        return None
    try:
        found = await asked.matcher.afind(asked, partial(_usable, plan))
    except Exception as error:
        engine.read_failed(plan, error)
        return None
    return _noted(plan, asked, found)


def vectors(plan: Plan, items: Sequence[Item]) -> Sequence[Vector]:
    """The vectors to store with a call's new entries."""
    asked = search(plan)
    return () if asked is None else asked.matcher.vectors(asked, items)


async def avectors(plan: Plan, items: Sequence[Item]) -> Sequence[Vector]:
    """As `vectors`."""
    asked = search(plan)
    return () if asked is None else await asked.matcher.avectors(asked, items)


def note(plan: Plan, envelope: Envelope, now: float) -> None:
    """Note a match for staff: one that has served, or one that was only looked at while the model
    was called all the same.

    Args:
        envelope: the answer that the caller gets.
        now: unix seconds.
    """
    asked, call = plan.search, plan.call
    if asked is None or plan.store is None:
        return
    seen = plan.match or asked.unserved
    if seen is None or not engine.has_body(envelope):
        return
    from llmcache.matching import observing

    pair = None
    how = "served"
    if plan.match is None:
        pair = engine.body_of(call.kind, seen.envelope), engine.body_of(call.kind, envelope)
        how = "shadow" if asked.matcher.rules.shadow else "audit"
    observing.observer.put(
        observing.Observation(
            at=now,
            how=how,
            alias=plan.store.alias,
            kind=call.kind,
            model=call.model,
            match=seen,
            answers=pair,
        )
    )


def search(plan: Plan) -> Search | None:
    """The call's search by meaning, kept on its plan; None where its store has none, or the call
    no question. Made before the answer is, which notes what it answers.

    Raises:
        ImproperlyConfigured: the store's OPTIONS cannot be used.
    """
    store = plan.store
    if plan.search is not None or store is None or store.semantic is None:
        return plan.search
    if plan.material is None or not plan.call.controls.semantic or store.custom.keys() & OWN_WAYS:
        return None
    if conf.config().require_scope and not plan.material.get("scope"):
        events.warn_once("no_scope", "A call without a scope matches nothing by similarity")
        plan.reason = plan.reason or "REQUIRE_SCOPE: without a scope nothing similar may serve"
        return None
    from llmcache import matching  # its word lists take a while to load; most sites need none

    plan.search = matching.search(store, plan.material)
    return plan.search


def _usable(plan: Plan, digest: str, data: bytes) -> Envelope | None:
    """A similar question's entry, if it may answer this call: never one that is past its ttl."""
    envelope = engine.unwrap(plan, digest, data)
    now = time()
    if envelope is None or now >= envelope.expires:
        return None
    s_maxage = plan.call.controls.s_maxage
    return envelope if s_maxage is None or now - envelope.created < s_maxage else None


def _noted(plan: Plan, asked: Search, found: Match | None) -> Found | None:
    if found is None:
        plan.reason = plan.reason or asked.reason
        return None
    plan.match = found
    if plan.store is not None and plan.store.semantic is not None:
        plan.layer = plan.store.semantic.alias
    return found.envelope, HIT
