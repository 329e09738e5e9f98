"""New answers: what to store of them, and how they are handed on meanwhile. Steps without I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import orjson

from llmcache import events, keys, policy
from llmcache.backends.base import Item
from llmcache.envelope import Envelope, EnvelopeError, seal
from llmcache.exceptions import InvalidRequest
from llmcache.outcome import CacheInfo
from llmcache.plans import Plan
from llmcache.recorder import recorder
from llmcache.records import EntryRecord
from llmcache.streams import NO_ANSWER, OWN_KINDS, USAGE_CHUNKS, assemble, usage_chunks, usage_of
from llmcache.usage import Usage


def prepare(
    plan: Plan, body: bytes, now: float, seconds: float, chunks: Sequence[bytes] | None = None
) -> tuple[Envelope, Item | None]:
    """What to store of a new answer, if anything.

    Args:
        body: the whole answer, as one JSON object.
        now: unix seconds.
        seconds: how long upstream took.
        chunks: the recorded events, if the answer was streamed.

    Returns:
        The answer as an opened entry, and the item to write or None. Why not is in `plan.reason`.
    """
    call = plan.call
    header: dict[str, Any] = {"kind": call.kind, "model": call.model, "seconds": round(seconds, 6)}
    payload = body
    if chunks is not None:
        payload = b"\n".join(chunks)
        if call.kind not in OWN_KINDS:
            header[USAGE_CHUNKS] = usage_chunks(chunks)
    parsed: Any = None
    try:
        parsed = policy.readable(call.kind, body)
        header["usage"] = usage_of(call.kind, parsed).as_dict()
        why_not = policy.refusal(call.kind, parsed)
        if call.kind in OWN_KINDS and parsed.get("model"):
            header["priced_as"] = str(parsed["model"])
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        header["usage"] = Usage().as_dict()
        why_not = f"the answer's format is not understood ({error!r})"
    envelope = unstored(payload, now, is_stream=chunks is not None)
    envelope.note(header)
    if not plan.write or plan.digest is None:
        return envelope, None
    if why_not:
        plan.private = call.kind in OWN_KINDS
        events.count("refused")
        plan.reason = f"not stored: {why_not}"
        return envelope, None
    return envelope, entry(plan, plan.digest, payload, header, now, is_stream=chunks is not None)


def prepare_stream(
    plan: Plan, chunks: Sequence[bytes], now: float, seconds: float
) -> tuple[Envelope, Item | None]:
    """As `prepare`, for a stream that has been read to its clean end."""
    try:
        body = assemble(plan.call.kind, chunks)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        events.warn_once("refused", "A stream is not stored: %r", error)
        plan.reason = "not stored: the stream's format is not understood"
        envelope = unstored(b"\n".join(chunks), now, is_stream=True)
        envelope.note({NO_ANSWER: True})
        return envelope, None
    return prepare(plan, body, now, seconds, chunks)


def entry(
    plan: Plan,
    digest: str,
    payload: bytes,
    header: dict[str, Any],
    now: float,
    *,
    is_stream: bool = False,
    material: Mapping[str, Any] | None = None,
) -> Item | None:
    """A sealed entry ready to be written, or None when its ttl is 0.

    Args:
        material: what the digest was made of, if that is not the plan's own material.
    """
    store, controls = plan.store, plan.call.controls
    assert store is not None
    ttl = policy.ttl_for(controls, store.ttl)
    if ttl == 0:
        plan.reason = "not stored: ttl is 0"
        return None
    if controls.tags:
        header["tags"] = list(controls.tags)
    if plan.pinned:
        header["pinned"] = True
    if plan.namespace:
        header["namespace"] = plan.namespace
    if plan.scope:
        header["scope"] = plan.scope
    if plan.search is not None:
        plan.search.note(header)
    kept = policy.kept_for(controls, ttl)
    try:
        data = seal(
            digest,
            payload,
            created=now,
            expires=math.inf if ttl is None else now + ttl,
            stale_until=math.inf if kept is None else now + kept,
            is_stream=is_stream,
            header=header,
            sign=store.signed,
            compress_min_bytes=store.compress_min_bytes,
        )
    except EnvelopeError as error:
        events.warn_once("unsealed", "An answer is not stored: %s", error)
        plan.reason = "not stored: it cannot be encrypted"
        return None
    plan.stored = True
    if recorder.is_on:
        record = EntryRecord(
            alias=store.alias,
            digest=digest,
            created=now,
            expires=None if ttl is None else now + ttl,
            kept_until=None if kept is None else now + kept,
            size=len(data),
            header=header,
            material=keys.canonical_again(material or plan.material or {}),
        )
        plan.records = (*plan.records, record)
    return Item(digest, data, kept)


def foreign(plan: Plan, answer: object, now: float) -> Envelope | None:
    """What a user's own `get_cache` returned, as an entry; None when it found nothing.

    Raises:
        InvalidRequest: it returned something that is not an answer.
    """
    if answer is None:
        return None
    if isinstance(answer, str):
        answer = answer.encode()
    if not isinstance(answer, bytes):
        raw = getattr(answer, "raw", None)
        try:
            answer = raw if isinstance(raw, bytes) else orjson.dumps(answer, default=dict)
        except TypeError as error:
            raise InvalidRequest(
                "get_cache must return a response, a dict, JSON text or None, "
                f"not {type(answer).__name__}."
            ) from error
    return prepare(not_to_write(plan), answer, now, 0.0)[0]


def not_to_write(plan: Plan) -> Plan:
    """The plan for an answer that somebody else stores."""
    return Plan(plan.call, plan.store, plan.route, plan.started)


def unstored(payload: bytes, now: float, *, is_stream: bool = False) -> Envelope:
    """An answer that is passed on without ever having been an entry."""
    envelope = Envelope(now, math.inf, math.inf, is_stream, b"", payload)
    envelope.note({})
    return envelope


def finish_stream(plan: Plan, info: CacheInfo, envelope: Envelope) -> None:
    """Note in a live stream's CacheInfo what is known only at its end."""
    info.source = envelope
    info.reason = plan.reason
    info.stored = plan.stored
    info.latency = perf_counter() - plan.started
