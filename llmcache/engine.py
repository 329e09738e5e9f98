"""What to do with a call, as steps without I/O: plan it, and judge what was found.

The drivers (`client`, `aclient`) do the reading, calling and writing between the steps.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from llmcache import conf, events, keys, policy
from llmcache.calls import Call
from llmcache.effects import has_effects
from llmcache.envelope import Envelope, EnvelopeError, unseal
from llmcache.exceptions import InvalidRequest, UpstreamError
from llmcache.outcome import BYPASS, ERROR, HIT, MISS, STALE, CacheInfo
from llmcache.records import EntryRecord
from llmcache.store import Store, names_of
from llmcache.streams import OWN_KINDS, assemble, split
from llmcache.tombstones import tombstones
from llmcache.upstreams import Route, upstreams
from llmcache.upstreams.retry import RETRIED

if TYPE_CHECKING:
    from llmcache.matching import Match, Search


@dataclass(slots=True)
class Plan:
    """What is to happen with one call; the drivers note here what did.

    Attributes:
        store: None when there is no cache to use.
        digest: the entry's digest; None when the call bypasses the cache.
        read, write: whether the store is to be asked, and told.
        outcome, reason: how the call ends if no entry answers it.
        fallback: an entry past its ttl that may answer if upstream fails.
        routed: whether the route is one of the door's own, which no worker can take.
        private: whether the answer that came is for this caller alone.
        stored: whether what came from upstream is an entry now, or is about to be.
        pinned: whether the entries that the call brings are to be pinned, as those they replace.
        records: what the index is to know of the entries that the call brings.
        unreadable: digests whose entries were found damaged, forged or foreign.
        waited: whether the caller has waited for a store that failed in the end.
        landings: how many flights had landed when the store was read.
        search: the call's search by meaning, once there was one.
        match: the similar question whose answer serves the call.
        started: `perf_counter()` at the start of the call.
    """

    call: Call
    store: Store | None
    route: Route
    material: dict[str, Any] | None = None
    digest: str | None = None
    read: bool = False
    write: bool = False
    outcome: str = BYPASS
    reason: str = ""
    fallback: Envelope | None = None
    layer: str = ""
    routed: bool = False
    private: bool = False
    stored: bool = False
    pinned: bool = False
    records: list[EntryRecord] = field(default_factory=list)
    unreadable: tuple[str, ...] = ()
    landings: int = 0
    waited: bool = False
    search: Search | None = None
    match: Match | None = None
    started: float = 0.0

    @property
    def may_follow(self) -> bool:
        """Whether an answer that another caller is fetching right now would do."""
        return (
            self.read
            and self.write
            and self.call.controls.s_maxage != 0
            and conf.config().single_flight
        )

    def info(self, outcome: str, reason: str = "", source: Any = None) -> CacheInfo:
        """A CacheInfo for this call."""
        info = CacheInfo(
            outcome,
            model=self.call.model,
            key=self.digest,
            alias=self.store.alias if self.store else "",
            layer=self.layer,
            reason=reason,
            source=source,
        )
        if self.search is not None:
            info.lookup_cost = self.search.cost
        info.stored = self.stored
        info.latency = perf_counter() - self.started
        return info


def plan(call: Call, store: Store | None, route: Route | None = None) -> Plan:
    """Decide whether the call uses the cache, and under which key.

    Args:
        route: who answers the call, where that is not what the settings say of its model.

    Raises:
        ImproperlyConfigured: the provider's or the scope's settings are wrong.
        InvalidRequest: the provider has no calls of this kind.
    """
    started = perf_counter()
    result = Plan(
        call,
        store,
        upstreams.route(call.model) if route is None else route,
        routed=route is not None,
        started=started,
    )
    if call.kind not in result.route.upstream.kinds:
        upstream = result.route.upstream
        raise InvalidRequest(
            f"The provider {upstream.name!r} has no calls of the kind {call.kind!r}; it has "
            f"{', '.join(sorted(upstream.kinds))}. For {call.kind!r}, name another provider's "
            f"model, such as 'anthropic/...' with an 'anthropic' in LLMCACHE_PROVIDERS."
        )
    result.reason = _bypass_reason(call, store)
    if result.reason or store is None:
        return result
    controls = call.controls
    try:
        result.material = material(call, store, result.route)
        if call.kind == "embedding":  # keyed item by item, by the driver's `embeddings` steps
            result.digest = None
        else:
            result.digest = keys.digest_of(result.material)
    except (keys.Uncacheable, OSError) as error:
        events.warn_once("uncacheable", "A call bypasses the cache: %s", error)
        result.reason = str(error)
        return result
    result.outcome = MISS
    result.read = not controls.no_cache
    result.write = not controls.no_store
    if controls.no_cache:
        result.reason = "no-cache"
    return result


def _bypass_reason(call: Call, store: Store | None) -> str:
    if store is None:
        return "the cache is off"
    if call.caching is False:
        return "caching=False"
    if store.opt_in and not call.controls.use_cache:
        return "the cache is off unless a call says use-cache"
    if call.call_type not in store.supported_call_types:
        return f"{call.call_type} is not among supported_call_types"
    if call.controls.no_cache and call.controls.no_store:
        return "no-cache and no-store"
    if call.kind not in OWN_KINDS and has_effects(call.params):
        return "the call has effects besides its answer"
    return ""


def material(call: Call, store: Store, route: Route) -> dict[str, Any]:
    """What the call's key is made of, by name.

    Raises:
        Uncacheable, OSError: a file of the call cannot be read.
    """
    controls = call.controls
    base_url = call.base_url
    result = keys.material(
        call,
        model=route.model,
        provider=route.upstream.identity(base_url) if base_url else route.identity,
        namespace=controls.namespace or store.namespace,
        scope=controls.scope or configured_scope(),
        version=store.version,
    )
    make_key = store.custom.get("get_cache_key")
    if make_key is not None:
        result = keys.own_key(result, str(make_key(**kwargs(call))))
    if controls.bucket is not None:
        result["bucket"] = random.randrange(controls.bucket)  # noqa: S311
    return result


def configured_scope() -> str | None:
    """What the configuration's SCOPE says of the call at hand.

    Raises:
        ImproperlyConfigured: it is neither a string nor None.
    """
    scope = conf.config().scope
    if scope is None:
        return None
    function = import_string(scope) if isinstance(scope, str) else scope
    value = function()
    if value is not None and not isinstance(value, str):
        raise ImproperlyConfigured(
            f"LLMCACHE_CONFIG['SCOPE'] must return a string or None, not {value!r}."
        )
    return value


def unwrap(plan: Plan, digest: str, data: bytes) -> Envelope | None:
    """Open stored bytes; None, counted and logged, when they are damaged, forged or foreign, or
    were evicted and somebody has put them back.
    """
    store = plan.store
    assert store is not None
    try:
        envelope = unseal(digest, data, signed=store.signed)
    except EnvelopeError as error:
        _cannot_be_used(plan, digest, "unreadable", str(error))
        return None
    if (
        store.signed
        and tombstones.may_cover(digest, envelope)
        and tombstones.cover(names_of(store.backend), digest, envelope)
    ):
        _cannot_be_used(plan, digest, "put_back", "it was evicted, and has been put back")
        return None
    return envelope


def _cannot_be_used(plan: Plan, digest: str, count: str, why: str) -> None:
    if digest not in plan.unreadable:  # a leader looks twice
        plan.unreadable += (digest,)
        assert plan.store is not None
        events.warn_once(count, "An entry of alias %r cannot be used: %s", plan.store.alias, why)


def judge(plan: Plan, envelope: Envelope, now: float) -> str:
    """Whether an entry answers the call: "hit", "stale" or "" for no.

    An entry that may only answer if upstream fails is kept as `plan.fallback`.
    """
    controls = plan.call.controls
    if controls.s_maxage is not None and now - envelope.created >= controls.s_maxage:
        plan.reason = "older than s-maxage"
        return ""
    if now < envelope.expires:
        return HIT
    overdue = now - envelope.expires
    if overdue < controls.stale_while_revalidate:
        return STALE
    plan.reason = "past its ttl"
    if overdue < policy.stale_if_error(controls):
        plan.fallback = envelope
    return ""


def served(plan: Plan, envelope: Envelope, outcome: str, now: float, reason: str = "") -> CacheInfo:
    """The CacheInfo of an answer, from the store or just made."""
    if outcome in (HIT, STALE):
        info = plan.info(outcome, reason, envelope)
        info.layer = plan.layer or info.alias
        info.age = max(0.0, now - envelope.created)
        info.match = plan.match
        info.similarity = 1.0
        if plan.match is not None:
            info.key = plan.match.digest
            info.similarity = plan.match.similarity
        return info
    return plan.info(outcome, reason or plan.reason, envelope)


def body_of(kind: str, envelope: Envelope) -> bytes:
    """An entry's answer as one body, whichever way it was recorded."""
    if envelope.is_stream:
        return assemble(kind, envelope.payload.split(b"\n"))
    return envelope.payload


def told(kind: str, envelope: Envelope) -> bytes:
    """What of an answer is told to those who listen: all of a provider's, the head of our own."""
    if kind in OWN_KINDS:
        return envelope.payload.partition(b"\n")[0]
    return body_of(kind, envelope)


def chunks_of(kind: str, envelope: Envelope) -> Sequence[bytes]:
    """An entry's answer as a stream's events, whichever way it was recorded."""
    if envelope.is_stream:
        return envelope.payload.split(b"\n")
    return split(kind, envelope.payload)


def kwargs(call: Call) -> dict[str, Any]:
    """The call's arguments, as users' own key, read and write functions get them."""
    return {"model": call.model, **call.params}


def rescue(plan: Plan, error: UpstreamError) -> Envelope | None:
    """The stale entry that may answer in place of a provider that failed, if there is one.

    A request that the provider refuses as wrong gets its error: no old answer makes it right.
    """
    status = error.status
    if status is not None and 400 <= status < 500 and status not in RETRIED:
        return None
    return plan.fallback


def read_failed(plan: Plan, error: Exception) -> None:
    """Count and log that the store could not be read; the call goes on as a miss."""
    assert plan.store is not None
    plan.store.breaker.failed()
    plan.waited = perf_counter() - plan.started >= conf.config().backend_timeout / 2
    events.count("read_error")
    events.logger.warning(
        "Alias %r could not be read: %s: %s", plan.store.alias, type(error).__name__, error
    )
    store_failed(plan)


def store_failed(plan: Plan) -> None:
    """Note that the store could not be read, so that the outcome says so."""
    plan.outcome = ERROR
    plan.reason = "the store failed"
