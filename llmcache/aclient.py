"""The async driver: `client`, step by step, with awaits. See there for why each step is as it
is.
"""

from __future__ import annotations

from time import perf_counter, time

from llmcache import (
    afetching,
    answers,
    arecording,
    engine,
    events,
    prolonging,
    revalidation,
    similar,
)
from llmcache.backends.base import Item
from llmcache.calls import Call
from llmcache.embeddings import Batch
from llmcache.envelope import Envelope
from llmcache.exceptions import NotCached, UpstreamError
from llmcache.fetching import Found
from llmcache.outcome import COALESCED, HIT, STALE
from llmcache.plans import Plan
from llmcache.recorder import recorder
from llmcache.response import Response
from llmcache.singleflight import Unshared
from llmcache.store import Store
from llmcache.streaming import AsyncRecorded, AsyncStream


async def run(call: Call, store: Store | None) -> Response | AsyncStream:
    """Answer a call from the store or from upstream.

    Raises:
        NotCached: `only-if-cached` was asked for and no entry answers.
        UpstreamError: upstream failed, and no stale entry may answer.
    """
    return await carry_out(engine.plan(call, store))


async def carry_out(plan: Plan) -> Response | AsyncStream:
    """As `run`, for a call that is planned already."""
    call = plan.call
    if call.kind == "embedding" and plan.material is not None:
        return await _embed(plan)
    if plan.read:
        found = await afetching.lookup(plan)
        if found is not None:
            answer = await _answer(plan, *found)
            if found[1] == STALE and plan.write and plan.digest is not None:
                made = found[0].created
                revalidation.in_task(plan, plan.digest, lambda: afetching.ask(plan), made)
            return answer
        if call.controls.only_if_cached or not plan.may_follow:
            found = await similar.amatch(plan)
            if found is not None:
                return await _answer(plan, *found)
    if call.controls.only_if_cached:
        recorder.call(plan, plan.info(plan.outcome, "only-if-cached"), time())
        raise NotCached(plan.digest, plan.reason or "no entry")
    try:
        if call.stream:
            opened = await arecording.open_stream(plan)
            if isinstance(opened, AsyncStream):
                return opened
            found = opened
        elif plan.may_follow:
            found = await afetching.share(
                plan, plan.digest, lambda: afetching.lookup(plan), lambda: afetching.ask(plan)
            )
        else:
            envelope, items = await afetching.ask(plan)
            found = envelope, plan.outcome
            await afetching.write(plan, items, envelope)
    except UpstreamError as error:
        rescued = engine.rescue(plan, error)
        if rescued is None:
            await arecording.failed(plan, error)
            raise
        return await _answer(plan, rescued, STALE, f"upstream failed: {error}")
    except Unshared as own:
        if own.error is None:
            raise
        failure = own.error
    except Exception as error:
        await arecording.failed(plan, error)
        raise
    else:
        return await _answer(plan, *found)
    await arecording.failed(plan, failure)
    raise failure  # out here it keeps the cause and the context that it had


async def _answer(
    plan: Plan, envelope: Envelope, outcome: str, reason: str = ""
) -> Response | AsyncStream:
    """The caller's own copy of an answer."""
    call = plan.call
    now = time()
    info = engine.served(plan, envelope, outcome, now, reason)
    recorder.call(plan, info, now)
    if plan.search is not None:
        similar.note(plan, envelope, now)
    if outcome == HIT:
        prolonging.hit(plan, info.key, envelope)
    if events.listening():
        await events.afinished(call, info, lambda: Response(engine.told(call.kind, envelope), info))
    if call.stream:
        return AsyncRecorded(engine.wanted_chunks(call, envelope), info)
    return Response(engine.body_of(call.kind, envelope), info)


# --- embeddings ---


async def _embed(plan: Plan) -> Response:
    call, batch = plan.call, Batch(plan)
    outcome = HIT
    try:
        if plan.read:
            await _read_items(plan, batch)
        if batch.missing:
            if call.controls.only_if_cached:
                recorder.call(plan, plan.info(plan.outcome, "only-if-cached"), time())
                raise NotCached(None, f"{len(batch.missing)} items are not cached")
            outcome = await _ask_items(plan, batch)
    except UpstreamError as error:
        if not batch.rescue():
            await arecording.failed(plan, error)
            raise
        plan.reason = f"upstream failed: {error}"
    now = time()
    body, info = batch.merge(outcome, now)
    recorder.call(plan, info, now)
    if events.listening():
        await events.afinished(call, info, lambda: Response(body, info))
    prolonging.hits(plan, batch.from_store())
    stale = batch.stale_part()
    if stale is not None:
        _renew_items(stale)
    return Response(body, info)


async def _read_items(plan: Plan, batch: Batch) -> None:
    store = plan.store
    assert store is not None
    plan.landings = afetching.flights.landings
    if not store.breaker.allows():
        engine.store_failed(plan)
        return
    try:
        stored = await store.backend.aget_many(batch.missing)
    except Exception as error:
        engine.read_failed(plan, error)
        return
    store.breaker.succeeded()
    batch.judge(stored, time())


async def _ask_items(plan: Plan, batch: Batch) -> str:
    """Fetch what is missing in one call; the outcome of that."""

    async def lookup() -> Found | None:
        await _read_items(plan, batch)
        return None if batch.missing else (answers.unstored(b"", time()), HIT)

    if not plan.may_follow:
        envelope, items = await _fetch_items(plan, batch)
        await afetching.write(plan, items, envelope)
        return plan.outcome
    envelope, outcome = await afetching.share(
        plan, tuple(batch.missing), lookup, lambda: _fetch_items(plan, batch)
    )
    if outcome == COALESCED:
        batch.accept(envelope.payload, time(), 0.0)
    return outcome


async def _fetch_items(plan: Plan, batch: Batch) -> tuple[Envelope, list[Item]]:
    started = perf_counter()
    request = plan.call.request(plan.route.model, batch.params())
    body = await plan.route.upstream.acall(request)
    items = batch.accept(body, time(), perf_counter() - started)
    return answers.unstored(body, time()), items


def _renew_items(batch: Batch) -> None:
    """Have those items made anew that have served past their ttl, by one call."""
    plan = batch.plan
    revalidation.in_task(plan, tuple(batch.missing), lambda: _fetch_items(plan, batch))
