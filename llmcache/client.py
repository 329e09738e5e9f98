"""The sync driver: reads, calls, writes and tells, between the engine's steps.

`aclient` is its async twin; the tests hold the two to the same cases.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Generator, Iterator
from time import perf_counter, time

from asgiref.sync import async_to_sync

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
from llmcache.singleflight import Abandoned, Flights
from llmcache.store import Store
from llmcache.streaming import Stream

Found = tuple[Envelope, str]
"""An entry that answers a call, and the outcome that this is."""

_flights: Flights[Envelope] = Flights()
os.register_at_fork(after_in_child=_flights.forget)


def run(call: Call, store: Store | None) -> Response | Stream:
    """Answer a call from the store or from upstream.

    Raises:
        NotCached: `only-if-cached` was asked for and no entry answers.
        UpstreamError: upstream failed, and no stale entry may answer.
    """
    return carry_out(engine.plan(call, store))


def carry_out(plan: Plan) -> Response | Stream:
    """As `run`, for a call that is planned already."""
    call = plan.call
    if call.kind == "embedding" and plan.material is not None:
        return _embed(plan)
    if plan.read:
        found = _lookup(plan)
        if found is not None:
            if found[1] == STALE and plan.write:
                revalidation.in_thread(plan, _flights, _ask, _write)
            return _answer(plan, *found)
        if call.stream or call.controls.only_if_cached or not plan.may_follow:
            found = similar.match(plan)  # else whoever leads the flight does that, for all
            if found is not None:
                return _answer(plan, *found)
    if call.controls.only_if_cached:
        recorder.call(plan, plan.info(plan.outcome, "only-if-cached"), time())
        raise NotCached(plan.digest, plan.reason or "no entry")
    try:
        if call.stream:
            return _open_stream(plan)
        if plan.may_follow:
            found = _share(plan, plan.digest, lambda: _lookup(plan), lambda: _ask(plan))
        else:
            envelope, items = _ask(plan)
            found = envelope, plan.outcome
            _write(plan, items, envelope)
    except UpstreamError as error:
        rescued = engine.rescue(plan, error)
        if rescued is None:
            _failed(plan, error)
            raise
        return _answer(plan, rescued, STALE, f"upstream failed: {error}")
    except Exception as error:
        _failed(plan, error)
        raise
    return _answer(plan, *found)


def _answer(plan: Plan, envelope: Envelope, outcome: str, reason: str = "") -> Response | Stream:
    """The caller's own copy of an answer."""
    call = plan.call
    now = time()
    info = engine.served(plan, envelope, outcome, now, reason)
    recorder.call(plan, info, now)
    similar.note(plan, envelope, now)
    if events.listening():
        events.finished(call, info, lambda: Response(engine.body_of(call.kind, envelope), info))
    if call.stream:
        chunks = (chunk for chunk in engine.chunks_of(call.kind, envelope))
        return Stream(chunks, info, hide_usage=not call.wants_usage_chunk)
    return Response(engine.body_of(call.kind, envelope), info)


def _failed(plan: Plan, error: Exception) -> None:
    recorder.failure(plan, error)
    events.failed(plan.call, error, perf_counter() - plan.started)


# --- reading ---


def _lookup(plan: Plan) -> Found | None:
    envelope = _read(plan)
    if envelope is None:
        return None
    outcome = engine.judge(plan, envelope, time())
    return (envelope, outcome) if outcome else None


def _read(plan: Plan) -> Envelope | None:
    """The entry under the plan's digest; None when there is none, or the store fails."""
    store, digest = plan.store, plan.digest
    assert store is not None and digest is not None
    plan.landings = _flights.landings
    if store.custom and ("get_cache" in store.custom or "async_get_cache" in store.custom):
        return _read_custom(plan, store)
    if not store.breaker.allows():
        engine.store_failed(plan)
        return None
    try:
        if store.layered is None:
            data = store.backend.get(digest)
        else:
            data, plan.layer = store.layered.get_with_layer(digest) or (None, "")
    except Exception as error:
        engine.read_failed(plan, error)
        return None
    store.breaker.succeeded()
    return None if data is None else engine.unwrap(plan, digest, data)


def _read_custom(plan: Plan, store: Store) -> Envelope | None:
    get_cache = store.custom.get("get_cache") or async_to_sync(store.custom["async_get_cache"])
    try:
        return answers.foreign(plan, get_cache(**engine.kwargs(plan.call)), time())
    except Exception as error:
        engine.read_failed(plan, error)
        return None


# --- calling upstream ---


def _ask(plan: Plan) -> tuple[Envelope, list[Item]]:
    """Call upstream; the answer and what to store of it."""
    similar.search(plan)
    started = perf_counter()
    body = plan.route.upstream.call(plan.call.request(plan.route.model))
    envelope, item = answers.prepare(plan, body, time(), perf_counter() - started)
    return envelope, [item] if item is not None else []


def _share(
    plan: Plan,
    key: object,
    lookup: Callable[[], Found | None],
    ask: Callable[[], tuple[Envelope, list[Item]]],
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
            return flight.result(timeout=patience), COALESCED
        except Abandoned:
            continue
        except Exception as error:
            if flight.done():  # the leader's error is the followers' too: they don't try again
                raise copy.copy(error) from error
            events.count("follower_timeout")
            envelope, items = ask()
            _write(plan, items, envelope)
            return envelope, plan.outcome
    handed_over = False  # whether whoever stores the answer ends the flight
    try:
        if plan.landings != _flights.landings:
            found = lookup()
            if found is not None:
                return found
        found = similar.match(plan)
        if found is not None:
            flight.set_result(found[0])
            return found
        envelope, items = ask()
        flight.set_result(envelope)
        if items:
            handed_over = True
            _write(plan, items, envelope, lambda: _flights.land(place))
        return envelope, plan.outcome
    except Exception as error:
        if not flight.done():
            flight.set_exception(error)
        raise
    finally:
        if not handed_over:
            _flights.land(place)


def _write(
    plan: Plan,
    items: list[Item],
    envelope: Envelope,
    written: Callable[[], None] = lambda: None,
) -> None:
    """Store what a call has brought, by the user's own function where there is one."""
    store = plan.store
    if store is None or not items:
        written()
        return
    add_cache = store.custom.get("add_cache")
    if add_cache is None and "async_add_cache" in store.custom:
        add_cache = async_to_sync(store.custom["async_add_cache"])
    if add_cache is None:
        vectors = similar.vectors(plan, items)
        writer.write(store, items, plan.records, written, vectors)
        return
    info = plan.info(plan.outcome, plan.reason, envelope)
    result = Response(engine.body_of(plan.call.kind, envelope), info)
    try:
        add_cache(result, **engine.kwargs(plan.call))
    except Exception as error:
        writer.write_failed(store, error, len(items))
    finally:
        written()


# --- streams ---


def _open_stream(plan: Plan) -> Stream:
    """Start a live stream; errors of the request itself are raised here, not at the first chunk."""
    similar.search(plan)
    call = plan.call
    started = perf_counter()
    source = plan.route.upstream.stream(call.request(plan.route.model))
    first = next(source, None)
    info = plan.info(plan.outcome, plan.reason)
    live = _record(plan, source, first, info, started)
    return Stream(live, info, hide_usage=not call.wants_usage_chunk)


def _record(
    plan: Plan, source: Iterator[bytes], first: bytes | None, info: CacheInfo, started: float
) -> Generator[bytes, None, None]:
    """Pass a live stream on and store it once it has been read to a clean end."""
    chunks: list[bytes] = []
    try:
        chunk = first
        while chunk is not None:
            chunks.append(chunk)
            yield chunk
            chunk = next(source, None)
    except Exception as error:
        _failed(plan, error)
        raise
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()
    envelope, item = answers.prepare_stream(plan, chunks, time(), perf_counter() - started)
    answers.finish_stream(plan, info, envelope)
    if item is not None:
        _write(plan, [item], envelope)
    now = time()
    recorder.call(plan, info, now)
    similar.note(plan, envelope, now)
    if events.listening():
        kind = plan.call.kind
        events.finished(plan.call, info, lambda: Response(engine.body_of(kind, envelope), info))


# --- embeddings ---


def _embed(plan: Plan) -> Response:
    call, batch = plan.call, Batch(plan)
    outcome = HIT
    try:
        if plan.read:
            _read_items(plan, batch)
        if batch.missing:
            if call.controls.only_if_cached:
                recorder.call(plan, plan.info(plan.outcome, "only-if-cached"), time())
                raise NotCached(None, f"{len(batch.missing)} items are not cached")
            outcome = _ask_items(plan, batch)
    except UpstreamError as error:
        if not batch.rescue():
            _failed(plan, error)
            raise
        plan.reason = f"upstream failed: {error}"
    now = time()
    body, info = batch.merge(outcome, now)
    recorder.call(plan, info, now)
    if events.listening():
        events.finished(call, info, lambda: Response(body, info))
    return Response(body, info)


def _read_items(plan: Plan, batch: Batch) -> None:
    store = plan.store
    assert store is not None
    plan.landings = _flights.landings
    if not store.breaker.allows():
        engine.store_failed(plan)
        return
    try:
        stored = store.backend.get_many(batch.missing)
    except Exception as error:
        engine.read_failed(plan, error)
        return
    store.breaker.succeeded()
    batch.judge(stored, time())


def _ask_items(plan: Plan, batch: Batch) -> str:
    """Fetch what is missing in one call; the outcome of that."""

    def ask() -> tuple[Envelope, list[Item]]:
        started = perf_counter()
        request = plan.call.request(plan.route.model, batch.params())
        body = plan.route.upstream.call(request)
        items = batch.accept(body, time(), perf_counter() - started)
        return answers.unstored(body, time()), items

    def lookup() -> Found | None:
        _read_items(plan, batch)
        return None if batch.missing else (answers.unstored(b"", time()), HIT)

    if not plan.may_follow:
        envelope, items = ask()
        _write(plan, items, envelope)
        return plan.outcome
    envelope, outcome = _share(plan, tuple(batch.missing), lookup, ask)
    if outcome == COALESCED:
        batch.accept(envelope.payload, time(), 0.0)
    return outcome
