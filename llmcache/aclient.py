"""The async driver: `client`, step by step, with awaits. See there for why each step is as it
is.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from time import perf_counter, time

from llmcache import answers, conf, engine, events, revalidation, similar, writer
from llmcache.backends.base import Item
from llmcache.calls import Call
from llmcache.embeddings import Batch
from llmcache.engine import Plan
from llmcache.envelope import Envelope
from llmcache.exceptions import NotCached, UpstreamError
from llmcache.outcome import COALESCED, HIT, STALE, CacheInfo
from llmcache.recorder import recorder
from llmcache.response import Response
from llmcache.singleflight import Abandoned, AsyncFlights
from llmcache.store import Store
from llmcache.streaming import AsyncStream

Found = tuple[Envelope, str]
"""An entry that answers a call, and the outcome that this is."""

_flights: AsyncFlights[Envelope] = AsyncFlights()


async def run(call: Call, store: Store | None) -> Response | AsyncStream:
    """Answer a call from the store or from upstream.

    Raises:
        NotCached: `only-if-cached` was asked for and no entry answers.
        UpstreamError: upstream failed, and no stale entry may answer.
    """
    plan = engine.plan(call, store)
    if call.kind == "embedding" and plan.material is not None:
        return await _embed(plan)
    if plan.read:
        found = await _lookup(plan)
        if found is not None:
            if found[1] == STALE and plan.write:
                revalidation.in_task(plan, _flights, _ask, _write)
            return await _answer(plan, *found)
        if call.stream or call.controls.only_if_cached or not plan.may_follow:
            found = await similar.amatch(plan)
            if found is not None:
                return await _answer(plan, *found)
    if call.controls.only_if_cached:
        recorder.call(plan, plan.info(plan.outcome, "only-if-cached"), time())
        raise NotCached(plan.digest, plan.reason or "no entry")
    try:
        if call.stream:
            return await _open_stream(plan)
        if plan.may_follow:
            found = await _share(plan, plan.digest, lambda: _lookup(plan), lambda: _ask(plan))
        else:
            envelope, items = await _ask(plan)
            found = envelope, plan.outcome
            await _write(plan, items, envelope)
    except UpstreamError as error:
        rescued = engine.rescue(plan, error)
        if rescued is None:
            await _failed(plan, error)
            raise
        return await _answer(plan, rescued, STALE, f"upstream failed: {error}")
    except Exception as error:
        await _failed(plan, error)
        raise
    return await _answer(plan, *found)


async def _answer(
    plan: Plan, envelope: Envelope, outcome: str, reason: str = ""
) -> Response | AsyncStream:
    """The caller's own copy of an answer."""
    call = plan.call
    now = time()
    info = engine.served(plan, envelope, outcome, now, reason)
    recorder.call(plan, info, now)
    similar.note(plan, envelope, now)
    if events.listening():
        await events.afinished(
            call, info, lambda: Response(engine.body_of(call.kind, envelope), info)
        )
    if call.stream:
        return AsyncStream(_replay(plan, envelope), info, hide_usage=not call.wants_usage_chunk)
    return Response(engine.body_of(call.kind, envelope), info)


async def _replay(plan: Plan, envelope: Envelope) -> AsyncGenerator[bytes, None]:
    for chunk in engine.chunks_of(plan.call.kind, envelope):
        yield chunk


async def _failed(plan: Plan, error: Exception) -> None:
    recorder.failure(plan, error)
    await events.afailed(plan.call, error, perf_counter() - plan.started)


# --- reading ---


async def _lookup(plan: Plan) -> Found | None:
    envelope = await _read(plan)
    if envelope is None:
        return None
    outcome = engine.judge(plan, envelope, time())
    return (envelope, outcome) if outcome else None


async def _read(plan: Plan) -> Envelope | None:
    """The entry under the plan's digest; None when there is none, or the store fails."""
    store, digest = plan.store, plan.digest
    assert store is not None and digest is not None
    plan.landings = _flights.landings
    if store.custom and ("get_cache" in store.custom or "async_get_cache" in store.custom):
        return await _read_custom(plan, store)
    if not store.breaker.allows():
        engine.store_failed(plan)
        return None
    try:
        if store.layered is None:
            data = await store.backend.aget(digest)
        else:
            data, plan.layer = await store.layered.aget_with_layer(digest) or (None, "")
    except Exception as error:
        engine.read_failed(plan, error)
        return None
    store.breaker.succeeded()
    return None if data is None else engine.unwrap(plan, digest, data)


async def _read_custom(plan: Plan, store: Store) -> Envelope | None:
    try:
        if "async_get_cache" in store.custom:
            answer = await store.custom["async_get_cache"](**engine.kwargs(plan.call))
        else:
            answer = await asyncio.to_thread(store.custom["get_cache"], **engine.kwargs(plan.call))
        return answers.foreign(plan, answer, time())
    except Exception as error:
        engine.read_failed(plan, error)
        return None


# --- calling upstream ---


async def _ask(plan: Plan) -> tuple[Envelope, list[Item]]:
    """Call upstream; the answer and what to store of it."""
    similar.search(plan)
    started = perf_counter()
    body = await plan.route.upstream.acall(plan.call.request(plan.route.model))
    envelope, item = answers.prepare(plan, body, time(), perf_counter() - started)
    return envelope, [item] if item is not None else []


async def _share(
    plan: Plan,
    key: object,
    lookup: Callable[[], Awaitable[Found | None]],
    ask: Callable[[], Awaitable[tuple[Envelope, list[Item]]]],
) -> Found:
    """Lead or follow the one upstream call for this key.

    Args:
        lookup: reads the store once more, for a leader that another has just preceded.
        ask: calls upstream.
    """
    place = (plan.store, key)
    patience = conf.config().single_flight_timeout
    while True:
        flight, leads = _flights.join(place)
        if leads:
            break
        try:
            # Shielded: one follower's cancellation or impatience must not reach the others.
            return await asyncio.wait_for(asyncio.shield(flight), patience), COALESCED
        except Abandoned:
            continue
        except Exception as error:
            if flight.done():  # the leader's error is the followers' too: they don't try again
                raise copy.copy(error) from error
            events.count("follower_timeout")
            envelope, items = await ask()
            await _write(plan, items, envelope)
            return envelope, plan.outcome
    try:
        if plan.landings != _flights.landings:
            found = await lookup()
            if found is not None:
                return found
        found = await similar.amatch(plan)
        if found is not None:
            flight.set_result(found[0])
            return found
        envelope, items = await ask()
        flight.set_result(envelope)
        await _write(plan, items, envelope)
        return envelope, plan.outcome
    except Exception as error:
        if not flight.done():
            flight.set_exception(error)
        raise
    finally:
        _flights.land(place)


async def _write(plan: Plan, items: list[Item], envelope: Envelope) -> None:
    """Store what a call has brought, by the user's own function where there is one."""
    store = plan.store
    if store is None or not items:
        return
    add_cache = store.custom.get("add_cache")
    async_add_cache = store.custom.get("async_add_cache")
    if add_cache is None and async_add_cache is None:
        vectors = await similar.avectors(plan, items)
        await writer.awrite(store, items, plan.records, vectors)
        return
    info = plan.info(plan.outcome, plan.reason, envelope)
    result = Response(engine.body_of(plan.call.kind, envelope), info)
    try:
        if async_add_cache is not None:
            await async_add_cache(result, **engine.kwargs(plan.call))
        elif add_cache is not None:
            await asyncio.to_thread(add_cache, result, **engine.kwargs(plan.call))
    except Exception as error:
        writer.write_failed(store, error, len(items))


# --- streams ---


async def _open_stream(plan: Plan) -> AsyncStream:
    """Start a live stream; errors of the request itself are raised here, not at the first chunk."""
    similar.search(plan)
    call = plan.call
    started = perf_counter()
    source = plan.route.upstream.astream(call.request(plan.route.model))
    first = await anext(source, None)
    info = plan.info(plan.outcome, plan.reason)
    live = _record(plan, source, first, info, started)
    return AsyncStream(live, info, hide_usage=not call.wants_usage_chunk)


async def _record(
    plan: Plan, source: AsyncIterator[bytes], first: bytes | None, info: CacheInfo, started: float
) -> AsyncGenerator[bytes, None]:
    """Pass a live stream on and store it once it has been read to a clean end."""
    chunks: list[bytes] = []
    try:
        chunk = first
        while chunk is not None:
            chunks.append(chunk)
            yield chunk
            chunk = await anext(source, None)
    except Exception as error:
        await _failed(plan, error)
        raise
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()
    envelope, item = answers.prepare_stream(plan, chunks, time(), perf_counter() - started)
    answers.finish_stream(plan, info, envelope)
    if item is not None:
        await _write(plan, [item], envelope)
    now = time()
    recorder.call(plan, info, now)
    similar.note(plan, envelope, now)
    if events.listening():
        kind = plan.call.kind
        await events.afinished(
            plan.call, info, lambda: Response(engine.body_of(kind, envelope), info)
        )


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
            await _failed(plan, error)
            raise
        plan.reason = f"upstream failed: {error}"
    now = time()
    body, info = batch.merge(outcome, now)
    recorder.call(plan, info, now)
    if events.listening():
        await events.afinished(call, info, lambda: Response(body, info))
    return Response(body, info)


async def _read_items(plan: Plan, batch: Batch) -> None:
    store = plan.store
    assert store is not None
    plan.landings = _flights.landings
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

    async def ask() -> tuple[Envelope, list[Item]]:
        started = perf_counter()
        request = plan.call.request(plan.route.model, batch.params())
        body = await plan.route.upstream.acall(request)
        items = batch.accept(body, time(), perf_counter() - started)
        return answers.unstored(body, time()), items

    async def lookup() -> Found | None:
        await _read_items(plan, batch)
        return None if batch.missing else (answers.unstored(b"", time()), HIT)

    if not plan.may_follow:
        envelope, items = await ask()
        await _write(plan, items, envelope)
        return plan.outcome
    envelope, outcome = await _share(plan, tuple(batch.missing), lookup, ask)
    if outcome == COALESCED:
        batch.accept(envelope.payload, time(), 0.0)
    return outcome
