"""Live streams: whoever asks first opens one, all who ask meanwhile read it too, and it is stored
once it has come to its clean end.

`arecording` is the async twin.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from time import perf_counter, time

from llmcache import answers, engine, events, fetching, relays, similar
from llmcache.broadcast import Abandoned, Broadcast
from llmcache.claims import Claim
from llmcache.envelope import Envelope
from llmcache.exceptions import StreamBroken
from llmcache.fetching import Found
from llmcache.listening import Listener
from llmcache.outcome import COALESCED, CacheInfo
from llmcache.plans import Plan
from llmcache.recorder import recorder
from llmcache.response import Response
from llmcache.singleflight import Flight, Unshared
from llmcache.streaming import Stream
from llmcache.streams import OWN_KINDS


def open_stream(plan: Plan) -> Stream | Found:
    """A live stream, or an answer that somebody else has just had. Errors of the request itself are
    raised here, not at the first chunk.

    A view's or a function's stream is never shared: only its end tells whether it may be.
    """
    if not plan.may_follow or plan.call.kind in OWN_KINDS:
        return _unshared(plan)
    place = (plan.store, plan.digest)
    while True:
        broadcast = Broadcast()
        flight, leads = fetching.flights.join(place, broadcast)
        if leads:
            return _lead(plan, flight, broadcast)
        try:
            found = fetching.follow(flight, partial(_reader, plan, COALESCED))
        except Abandoned:
            continue
        if found is None:
            return _unshared(plan)
        return (found, COALESCED) if isinstance(found, Envelope) else found


def _unshared(plan: Plan) -> Stream:
    similar.search(plan)
    started = perf_counter()
    source = plan.route.upstream.stream(plan.call.request(plan.route.model))
    return record(plan, source, next(source, None), started)


def record(plan: Plan, source: Iterator[bytes], first: bytes | None, started: float) -> Stream:
    """A live stream of one caller's own, which is stored once it has been read to its clean end.

    Args:
        source: the events' JSON, without the first.
        first: the first event; None where there was none.
        started: `perf_counter()` when upstream was asked.
    """
    info = plan.info(plan.outcome, plan.reason)
    live = _record(plan, source, first, info, started)
    next(live)  # from here on it notes when it is closed or forgotten
    recorder.stream_opened()
    return Stream(live, info, hide_usage=not plan.call.wants_usage_chunk)


def _record(
    plan: Plan, source: Iterator[bytes], first: bytes | None, info: CacheInfo, started: float
) -> Generator[bytes, None, None]:
    chunks: list[bytes] = []
    try:
        yield b""
        chunk = first
        while chunk is not None:
            chunks.append(chunk)
            yield chunk
            chunk = next(source, None)
    except GeneratorExit:
        recorder.stream_left(plan, info, time())
        raise
    except Exception as error:
        failed(plan, error)
        raise
    finally:
        _close(source)
    envelope, item = answers.prepare_stream(plan, chunks, time(), perf_counter() - started)
    if item is not None:
        fetching.write(plan, [item], envelope)
    _finished(plan, info, envelope)


# --- shared ---


def _lead(plan: Plan, flight: Flight[Envelope], broadcast: Broadcast) -> Stream | Found:
    claim, found, begun, listener = None, None, False, Listener()
    try:
        claim, found = fetching.answered_since(
            plan, plan.digest, lambda: fetching.lookup(plan), flight, listener
        )
        if found is None:
            begun = True
            source = _events(plan, flight, claim, listener if listener.heard else None)
            next(source)  # from here on its end ends the flight
            broadcast.begin(source)
            if claim is not None:
                relays.offer(claim, broadcast)
            outcome = COALESCED if listener.heard else plan.outcome
            return _reader(plan, outcome, flight, broadcast)
        return found
    except Exception as error:
        if not flight.done():
            flight.set_exception(error)
        raise
    finally:
        if not begun:
            broadcast.abandon()
            fetching.flights.land((plan.store, plan.digest))
            broadcast.leave()


def _events(
    plan: Plan, flight: Flight[Envelope], claim: Claim | None, listener: Listener | None
) -> Generator[bytes, None, None]:
    """The events of a shared stream; whoever reads it to its end has it stored."""
    end: BaseException | None = None
    handed_over = False  # whether whoever stores the answer ends the flight

    place = (plan.store, plan.digest)

    @fetching.once
    def land() -> None:
        if claim is not None:
            relays.withdraw(claim)
            claim.end(end)
        fetching.flights.land(place)

    chunks: list[bytes] = []
    source: Iterator[bytes] = iter(())
    try:
        yield b""
        started = perf_counter()
        if listener is None:
            similar.search(plan)
            source = plan.route.upstream.stream(plan.call.request(plan.route.model))
        else:
            source = listener.events(partial(_stored_events, plan))
            plan = answers.not_to_write(plan)
        for chunk in source:
            chunks.append(chunk)
            yield chunk
        envelope, item = answers.prepare_stream(plan, chunks, time(), perf_counter() - started)
        flight.set_result(envelope)
        if item is not None:
            fetching.write(plan, [item], envelope, land)
            handed_over = True
        else:
            end = Unshared()  # other processes would wait in vain for what is not stored
    except BaseException as error:
        end = error
        if isinstance(error, Exception) and not flight.done():
            flight.set_exception(error)
        raise
    finally:
        try:
            _close(source)
        finally:
            if not handed_over:
                land()


def _stored_events(plan: Plan) -> Sequence[bytes]:
    found = fetching.lookup(plan)
    return () if found is None else engine.chunks_of(plan.call.kind, found[0])


def _reader(plan: Plan, outcome: str, flight: Flight[Envelope], broadcast: Broadcast) -> Stream:
    """One caller's reading of a shared stream, which has its first event.

    Raises:
        Exception: the stream has ended in an error before that.
    """
    try:
        broadcast.pull(0, fetching.patience() if outcome == COALESCED else None)
    except BaseException:
        broadcast.leave()
        raise
    info = plan.info(outcome, plan.reason)
    live = _read(plan, flight, broadcast, info)
    next(live)  # from here on it leaves the broadcast when it is closed or forgotten
    recorder.stream_opened()
    return Stream(
        live, info, hide_usage=not plan.call.wants_usage_chunk, has_other_readers=broadcast.others
    )


def _read(
    plan: Plan, flight: Flight[Envelope], broadcast: Broadcast, info: CacheInfo
) -> Generator[bytes, None, None]:
    position = 0
    try:
        yield b""
        while broadcast.pull(position):
            yield broadcast.events[position]
            position += 1
    except GeneratorExit:
        recorder.stream_left(plan, info, time())
        raise
    except Abandoned:
        error = StreamBroken("the caller who had opened the stream was interrupted")
        failed(plan, error)
        raise error from None
    except Exception as error:
        failed(plan, error)
        if info.outcome == COALESCED:
            raise fetching.own_copy(error) from error
        raise
    finally:
        broadcast.leave()
    _finished(plan, info, flight.result())


# --- their ends ---


def _close(source: object) -> None:
    close = getattr(source, "close", None)
    if close is not None:
        close()


def _finished(plan: Plan, info: CacheInfo, envelope: Envelope) -> None:
    """Note a stream that has been read to its end."""
    answers.finish_stream(plan, info, envelope)
    now = time()
    recorder.call(plan, info, now)
    similar.note(plan, envelope, now)
    if events.listening():
        kind = plan.call.kind
        events.finished(plan.call, info, lambda: Response(engine.told(kind, envelope), info))


def failed(plan: Plan, error: Exception) -> None:
    """Note a call that has ended in an error."""
    recorder.failure(plan, error)
    alias = plan.store.alias if plan.store else ""
    events.failed(plan.call, error, perf_counter() - plan.started, alias)
