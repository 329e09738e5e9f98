"""What to do with a call, as steps without I/O: plan it, and judge what was found.

The drivers (`client`, `aclient`) do the reading, calling and writing between the steps.
"""

from __future__ import annotations

from time import perf_counter

from llmcache import conf, events, keys, policy
from llmcache.calls import Call
from llmcache.effects import has_effects
from llmcache.envelope import Envelope, EnvelopeError, unseal
from llmcache.exceptions import InvalidRequest, UpstreamError
from llmcache.outcome import ERROR, HIT, MISS, STALE, CacheInfo
from llmcache.plans import Plan, configured_scope, made_of
from llmcache.store import Store, names_of
from llmcache.streams import NO_ANSWER, OWN_KINDS, USAGE_CHUNKS, assemble, is_usage_chunk, split
from llmcache.tombstones import tombstones
from llmcache.upstreams import Route, upstreams
from llmcache.upstreams.retry import RETRIED


def plan(call: Call, store: Store | None, route: Route | None = None) -> Plan:
    """Decide whether the call uses the cache, and under which key.

    Args:
        route: who answers the call, where that is not what the settings say of its model.

    Raises:
        ImproperlyConfigured: the provider's or the scope's settings are wrong.
        InvalidRequest: the provider has no calls of this kind.
    """
    started = perf_counter()
    if route is None:
        result = Plan(call, store, upstreams.route(call.model), started)
    else:
        result = Plan(call, store, route, started)
        result.routed = True
    if call.kind not in result.route.upstream.kinds:
        upstream = result.route.upstream
        raise InvalidRequest(
            f"The provider {upstream.name!r} has no calls of the kind {call.kind!r}; it has "
            f"{', '.join(sorted(upstream.kinds))}. For {call.kind!r}, name another provider's "
            f"model, such as 'anthropic/...' with an 'anthropic' in LLMCACHE_PROVIDERS."
        )
    reason = _bypass_reason(call, store)
    if reason or store is None:
        result.reason = reason
        return result
    controls = call.controls
    try:
        result.namespace = namespace = controls.namespace or store.namespace
        result.scope = scope = controls.scope or configured_scope()
        if keys.is_plain(call) and not store.custom:
            to = result.route
            result.digest = keys.plain_digest(
                call.kind, to.model, to.identity, namespace, scope, store.version, call.params
            )
        else:
            result.material = material = made_of(call, store, result.route, namespace, scope)
            if call.kind != "embedding":  # keyed item by item, by the driver's `embeddings` steps
                result.digest = keys.digest_of(material)
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
        age = now - envelope.created
        info = plan.info(outcome, reason, envelope, age if age > 0.0 else 0.0, 1.0)
        if plan.match is not None:
            info.match = plan.match
            info.key = plan.match.digest
            info.similarity = plan.match.similarity
        return info
    return plan.info(outcome, reason or plan.reason, envelope)


def has_body(envelope: Envelope) -> bool:
    """Whether `body_of` has an answer: a stream in an odd format can only be handed on as it
    came.
    """
    return NO_ANSWER not in envelope.header


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


def chunks_of(kind: str, envelope: Envelope) -> list[bytes]:
    """An entry's answer as a stream's events, whichever way it was recorded."""
    if envelope.is_stream:
        return envelope.payload.split(b"\n")
    return split(kind, envelope.payload)


def wanted_chunks(call: Call, envelope: Envelope) -> list[bytes]:
    """As `chunks_of`, without the chunks that hold nothing but usage, unless the caller asked for
    them: we ask for them always.
    """
    chunks = chunks_of(call.kind, envelope)
    if call.wants_usage_chunk:
        return chunks
    noted = envelope.header.get(USAGE_CHUNKS) if envelope.is_stream else None
    if noted is None:
        return [chunk for chunk in chunks if not is_usage_chunk(chunk)]
    for position in reversed(noted):
        del chunks[position]
    return chunks


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
