"""The async driver's steps with I/O: `fetching`, step by step, with awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from time import perf_counter, time
from typing import Any, Final, TypeVar

from llmcache import answers, claims, engine, events, plans, similar, writer
from llmcache.backends.base import Item
from llmcache.broadcast import Abandoned, AsyncBroadcast
from llmcache.claims import Claim
from llmcache.envelope import Envelope
from llmcache.exceptions import UpstreamError
from llmcache.fetching import Found, failed_with, followed, own_copy, patience, skips
from llmcache.listening import Listener, Wish
from llmcache.outcome import COALESCED, ERROR
from llmcache.plans import Plan
from llmcache.response import Response
from llmcache.singleflight import AsyncFlight, AsyncFlights, Unshared
from llmcache.store import Store

T = TypeVar("T")

flights: AsyncFlights[Envelope] = AsyncFlights()
_last_steps: Final[set[asyncio.Task[None]]] = set()


async def lookup(plan: Plan) -> Found | None:
    """As `fetching.lookup`."""
    envelope = await _read(plan)
    if envelope is None:
        return None
    outcome = engine.judge(plan, envelope, time())
    return (envelope, outcome) if outcome else None


async def _read(plan: Plan) -> Envelope | None:
    """The entry under the plan's digest; None when there is none, or the store fails."""
    store, digest = plan.store, plan.digest
    assert store is not None and digest is not None
    plan.landings = flights.landings
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
            answer = await store.custom["async_get_cache"](**plans.kwargs(plan.call))
        else:
            answer = await asyncio.to_thread(store.custom["get_cache"], **plans.kwargs(plan.call))
        return answers.foreign(plan, answer, time())
    except Exception as error:
        engine.read_failed(plan, error)
        return None


async def ask(plan: Plan) -> tuple[Envelope, list[Item]]:
    """Call upstream; the answer and what to store of it."""
    similar.search(plan)
    started = perf_counter()
    body = await plan.route.upstream.acall(plan.call.request(plan.route.model))
    envelope, item = answers.prepare(plan, body, time(), perf_counter() - started)
    return envelope, [item] if item is not None else []


async def share(
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
    while True:
        flight, leads = flights.join(place)
        if leads:
            break
        try:
            envelope = await follow(flight, _read_to_its_end)
        except Abandoned:
            continue
        if envelope is not None and engine.has_body(envelope):
            return envelope, COALESCED
        envelope, items = await ask()
        await write(plan, items, envelope)
        return envelope, plan.outcome
    claim = None
    end: BaseException | None = None
    try:
        claim, found = await answered_since(plan, key, lookup, flight)
        if found is not None:
            return found
        envelope, items = await ask()
        if plan.private:
            end = Unshared()
            flight.set_exception(end)
        else:
            flight.set_result(envelope)
        if items:
            if await write(plan, items, envelope, claim.end if claim is not None else None):
                claim = None  # whoever stores the answer ends it
        elif end is None:
            end = Unshared()  # other processes would wait in vain for what is not stored
        return envelope, plan.outcome
    except BaseException as error:
        end = error
        if isinstance(error, Exception) and not flight.done():
            flight.set_exception(error)
        raise
    finally:
        flights.land(place)
        if claim is not None:
            await in_any_case(claim.aend(end))


async def follow(
    flight: AsyncFlight[Envelope],
    read: Callable[[AsyncFlight[Envelope], AsyncBroadcast], Awaitable[T]],
) -> Envelope | T | None:
    """As `fetching.follow`."""
    broadcast = flight.broadcast
    try:
        if broadcast is not None and broadcast.join():
            with suppress(Abandoned):
                return await read(flight, broadcast)
        # Shielded: one follower's cancellation or impatience must not reach the others.
        return await asyncio.wait_for(asyncio.shield(flight), patience())
    except Abandoned:
        raise
    except Exception as error:
        if isinstance(error, TimeoutError) and not failed_with(flight, error):
            events.count("follower_timeout")
        elif not isinstance(error, Unshared):
            raise own_copy(error) from error
        return None


async def _read_to_its_end(flight: AsyncFlight[Envelope], stream: AsyncBroadcast) -> Envelope:
    try:
        while await asyncio.wait_for(stream.pull(len(stream.events)), patience()):
            pass
    finally:
        await in_any_case(stream.leave())
    return flight.result()


async def answered_since(
    plan: Plan,
    key: object,
    lookup: Callable[[], Awaitable[Found | None]],
    flight: AsyncFlight[Envelope],
    listener: Listener | None = None,
) -> tuple[Claim | None, Found | None]:
    """As `fetching.answered_since`."""
    if plan.landings != flights.landings:
        found = await lookup()
        if found is not None:
            return None, found
    found = await similar.amatch(plan)
    if found is not None:
        flight.set_result(found[0])
        return None, found
    return await _agree(plan, key, lookup, listener)


def _nothing() -> None:
    pass


async def in_any_case(step: Coroutine[Any, Any, None]) -> None:
    """Await a last step, and see that it is taken even if the caller is cancelled meanwhile."""
    task = asyncio.get_running_loop().create_task(step)
    _last_steps.add(task)
    task.add_done_callback(_last_steps.discard)
    await asyncio.shield(task)


async def _agree(
    plan: Plan,
    key: object,
    lookup: Callable[[], Awaitable[Found | None]],
    listener: Listener | None,
) -> tuple[Claim | None, Found | None]:
    """As `fetching._agree`."""
    store = plan.store
    assert store is not None
    backend = store.claims
    if backend is None or plan.outcome == ERROR or store.is_resting:
        return None, None
    claim = Claim(store, backend, plan.digest or claims.name_of(key))
    waiting = Wish() if listener is None else listener
    try:
        held: bytes | None = await _claimed(claim)
        for pause in claims.pauses(patience()):
            if held is None:
                held = await _claimed(claim)
            if claim.took(held):
                found = await lookup()  # it may have been stored just before the claim
                if found is None:
                    return claim, None
                await claim.aend()
                return None, followed(plan, found)
            if not claims.is_claim(held):
                claims.read(claim.name, held)
            elif await waiting.ahears(held, claim):
                return None, None
            await asyncio.sleep(pause)
            held = await backend.aclaimed(claim.name)
            found = await lookup()
            if found is not None:
                return None, followed(plan, found)
    except (Unshared, UpstreamError) as told:
        if isinstance(told, UpstreamError):
            raise
        return None, None
    except Exception as error:
        claims.failed(store, error)
        if claim.is_kept:
            await in_any_case(claim.aend())
        return None, None
    except BaseException:  # whoever waits is not to wait for this one
        await in_any_case(claim.aend())
        raise
    events.count("follower_timeout")
    return None, None


async def _claimed(claim: Claim) -> bytes:
    """What the store holds once the claim is made. A caller who is cancelled leaves when that is
    known: a thread that makes the claim cannot be called back.
    """
    making = asyncio.ensure_future(claim.backend.aclaim(claim.name, claim.token, claims.lease()))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        await asyncio.wait({making})
        making.cancelled() or making.exception()
        raise


async def write(
    plan: Plan, items: list[Item], envelope: Envelope, written: Callable[[], None] | None = None
) -> bool:
    """As `fetching.write`.

    Returns:
        Whether a thread is to store the entries: it calls `written` once it has.
    """
    store = plan.store
    if store is None or not items or skips(plan, items):
        return False
    add_cache = store.custom.get("add_cache")
    async_add_cache = store.custom.get("async_add_cache")
    if add_cache is None and async_add_cache is None:
        vectors = await similar.avectors(plan, items)
        return await writer.awrite(store, items, plan.records, vectors, written or _nothing)
    info = plan.info(plan.outcome, plan.reason, envelope)
    result = Response(engine.body_of(plan.call.kind, envelope), info)
    try:
        if async_add_cache is not None:
            await async_add_cache(result, **plans.kwargs(plan.call))
        elif add_cache is not None:
            await asyncio.to_thread(add_cache, result, **plans.kwargs(plan.call))
    except Exception as error:
        writer.write_failed(store, error, len(items))
    return False
