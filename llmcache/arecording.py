"""Live streams among the tasks of an event loop: `recording`, step by step, with awaits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from functools import partial
from time import perf_counter, time

from llmcache import afetching, answers, engine, events, fetching, relays, similar
from llmcache.broadcast import Abandoned, AsyncBroadcast
from llmcache.claims import Claim
from llmcache.envelope import Envelope
from llmcache.exceptions import StreamBroken
from llmcache.fetching import Found
from llmcache.listening import Listener
from llmcache.outcome import COALESCED, CacheInfo
from llmcache.plans import Plan
from llmcache.recorder import recorder
from llmcache.response import Response
from llmcache.singleflight import AsyncFlight, Unshared
from llmcache.streaming import AsyncStream
from llmcache.streams import OWN_KINDS


async def open_stream(plan: Plan) -> AsyncStream | Found:
    """As `recording.open_stream`."""
    if not plan.may_follow or plan.call.kind in OWN_KINDS:
        return await _unshared(plan)
    place = (plan.store, plan.digest)
    while True:
        broadcast = AsyncBroadcast()
        flight, leads = afetching.flights.join(place, broadcast)
        if leads:
            return await _lead(plan, flight, broadcast)
        try:
            found = await afetching.follow(flight, partial(_reader, plan, COALESCED))
        except Abandoned:
            continue
        if found is None:
            return await _unshared(plan)
        return (found, COALESCED) if isinstance(found, Envelope) else found


async def _unshared(plan: Plan) -> AsyncStream:
    similar.search(plan)
    started = perf_counter()
    source = plan.route.upstream.astream(plan.call.request(plan.route.model))
    return record(plan, source, await anext(source, None), started)


def record(
    plan: Plan, source: AsyncIterator[bytes], first: bytes | None, started: float
) -> AsyncStream:
    """As `recording.record`."""
    info = plan.info(plan.outcome, plan.reason)
    live = _record(plan, source, first, info, started)
    recorder.stream_opened()
    return AsyncStream(live, info, hide_usage=not plan.call.wants_usage_chunk)


async def _record(
    plan: Plan, source: AsyncIterator[bytes], first: bytes | None, info: CacheInfo, started: float
) -> AsyncGenerator[bytes, None]:
    chunks: list[bytes] = []
    try:
        chunk = first
        while chunk is not None:
            chunks.append(chunk)
            yield chunk
            chunk = await anext(source, None)
    except (GeneratorExit, asyncio.CancelledError):
        recorder.stream_left(plan, info, time())
        raise
    except Exception as error:
        await failed(plan, error)
        raise
    finally:
        await _close(source)
    envelope, item = answers.prepare_stream(plan, chunks, time(), perf_counter() - started)
    if item is not None:
        await afetching.write(plan, [item], envelope)
    await _finished(plan, info, envelope)


# --- shared ---


async def _lead(
    plan: Plan, flight: AsyncFlight[Envelope], broadcast: AsyncBroadcast
) -> AsyncStream | Found:
    claim, found, begun, listener = None, None, False, Listener()
    try:
        claim, found = await afetching.answered_since(
            plan, plan.digest, lambda: afetching.lookup(plan), flight, listener
        )
        if found is None:
            begun = True
            source = _events(plan, flight, claim, listener if listener.heard else None)
            await anext(source)  # from here on its end ends the flight
            broadcast.begin(source)
            if claim is not None:
                relays.aoffer(claim, broadcast)
            outcome = COALESCED if listener.heard else plan.outcome
            return await _reader(plan, outcome, flight, broadcast)
        return found
    except Exception as error:
        if not flight.done():
            flight.set_exception(error)
        raise
    finally:
        if not begun:
            broadcast.abandon()
            afetching.flights.land((plan.store, plan.digest))
            await broadcast.leave()


async def _events(
    plan: Plan, flight: AsyncFlight[Envelope], claim: Claim | None, listener: Listener | None
) -> AsyncGenerator[bytes, None]:
    place = (plan.store, plan.digest)
    end: BaseException | None = None
    handed_over = False  # whether whoever stores the answer ends the claim
    chunks: list[bytes] = []
    source: AsyncIterator[bytes] | None = None
    try:
        yield b""
        started = perf_counter()
        if listener is None:
            similar.search(plan)
            source = plan.route.upstream.astream(plan.call.request(plan.route.model))
        else:
            source = listener.aevents(partial(_stored_events, plan))
            plan = answers.not_to_write(plan)
        async for chunk in source:
            chunks.append(chunk)
            yield chunk
        envelope, item = answers.prepare_stream(plan, chunks, time(), perf_counter() - started)
        flight.set_result(envelope)
        if item is not None:
            handed_over = await afetching.write(
                plan, [item], envelope, claim.end if claim else None
            )
        else:
            end = Unshared()  # other processes would wait in vain for what is not stored
    except BaseException as error:
        end = error
        if isinstance(error, Exception) and not flight.done():
            flight.set_exception(error)
        raise
    finally:
        try:
            await _close(source)
        finally:
            afetching.flights.land(place)
            if claim is not None:
                relays.withdraw(claim)
                if not handed_over:
                    await afetching.in_any_case(claim.aend(end))


async def _stored_events(plan: Plan) -> Sequence[bytes]:
    found = await afetching.lookup(plan)
    return () if found is None else engine.chunks_of(plan.call.kind, found[0])


async def _reader(
    plan: Plan, outcome: str, flight: AsyncFlight[Envelope], broadcast: AsyncBroadcast
) -> AsyncStream:
    try:
        async with asyncio.timeout(fetching.patience() if outcome == COALESCED else None):
            await broadcast.pull(0)
    except BaseException:
        await afetching.in_any_case(broadcast.leave())
        raise
    info = plan.info(outcome, plan.reason)
    live = _read(plan, flight, broadcast, info)
    await anext(live)  # from here on it leaves the broadcast when it is closed or forgotten
    recorder.stream_opened()
    return AsyncStream(
        live, info, hide_usage=not plan.call.wants_usage_chunk, has_other_readers=broadcast.others
    )


async def _read(
    plan: Plan, flight: AsyncFlight[Envelope], broadcast: AsyncBroadcast, info: CacheInfo
) -> AsyncGenerator[bytes, None]:
    position = 0
    try:
        yield b""
        while await broadcast.pull(position):
            yield broadcast.events[position]
            position += 1
    except (GeneratorExit, asyncio.CancelledError):
        recorder.stream_left(plan, info, time())
        raise
    except Abandoned:
        error = StreamBroken("the caller who had opened the stream was interrupted")
        await failed(plan, error)
        raise error from None
    except Exception as error:
        await failed(plan, error)
        if info.outcome == COALESCED:
            raise fetching.own_copy(error) from error
        raise
    finally:
        await afetching.in_any_case(broadcast.leave())
    await _finished(plan, info, flight.result())


# --- their ends ---


async def _close(source: object) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()


async def _finished(plan: Plan, info: CacheInfo, envelope: Envelope) -> None:
    """Note a stream that has been read to its end."""
    answers.finish_stream(plan, info, envelope)
    now = time()
    recorder.call(plan, info, now)
    similar.note(plan, envelope, now)
    if events.listening():
        kind = plan.call.kind
        await events.afinished(plan.call, info, lambda: Response(engine.told(kind, envelope), info))


async def failed(plan: Plan, error: Exception) -> None:
    """As `recording.failed`."""
    recorder.failure(plan, error)
    alias = plan.store.alias if plan.store else ""
    await events.afailed(plan.call, error, perf_counter() - plan.started, alias)
