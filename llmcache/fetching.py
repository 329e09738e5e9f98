"""The sync driver's steps with I/O: read the store, ask upstream, share one answer, write it.

`afetching` is their async twin.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from time import perf_counter, sleep, time
from typing import Any, TypeVar

from asgiref.sync import async_to_sync

from llmcache import answers, claims, conf, engine, events, plans, similar, writer
from llmcache.backends.base import Item
from llmcache.broadcast import Abandoned, Broadcast
from llmcache.claims import Claim
from llmcache.envelope import Envelope
from llmcache.exceptions import UpstreamError
from llmcache.listening import Listener, Wish
from llmcache.outcome import COALESCED, ERROR, HIT
from llmcache.plans import Plan
from llmcache.response import Response
from llmcache.similar import Found as Found
from llmcache.singleflight import Flight, Flights, Unshared
from llmcache.store import Store

T = TypeVar("T")

flights: Flights[Envelope] = Flights()
os.register_at_fork(after_in_child=flights.forget)


def lookup(plan: Plan) -> Found | None:
    """The entry that answers the call, if the store has one that may."""
    envelope = _read(plan)
    if envelope is None:
        return None
    outcome = engine.judge(plan, envelope, time())
    return (envelope, outcome) if outcome else None


def _read(plan: Plan) -> Envelope | None:
    """The entry under the plan's digest; None when there is none, or the store fails."""
    store, digest = plan.store, plan.digest
    assert store is not None and digest is not None
    plan.landings = flights.landings
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
        return answers.foreign(plan, get_cache(**plans.kwargs(plan.call)), time())
    except Exception as error:
        engine.read_failed(plan, error)
        return None


def ask(plan: Plan) -> tuple[Envelope, list[Item]]:
    """Call upstream; the answer and what to store of it."""
    similar.search(plan)
    started = perf_counter()
    body = plan.route.upstream.call(plan.call.request(plan.route.model))
    envelope, item = answers.prepare(plan, body, time(), perf_counter() - started)
    return envelope, [item] if item is not None else []


def once(step: Callable[[], None]) -> Callable[[], None]:
    """The step, taken when it is first called for and never again: whoever writes an answer calls
    for it in the end, and so does a caller who could not even have it written.
    """
    calls = count()

    def taken() -> None:
        if not next(calls):
            step()

    return taken


def share(
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
    while True:
        flight, leads = flights.join(place)
        if leads:
            break
        try:
            envelope = follow(flight, _read_to_its_end)
        except Abandoned:
            continue
        if envelope is not None and engine.has_body(envelope):
            return envelope, COALESCED
        envelope, items = ask()
        write(plan, items, envelope)
        return envelope, plan.outcome
    handed_over = False  # whether whoever stores the answer ends the flight
    claim = None
    end: BaseException | None = None

    @once
    def land() -> None:
        if claim is not None:
            claim.end(end)
        flights.land(place)

    try:
        claim, found = answered_since(plan, key, lookup, flight)
        if found is not None:
            return found
        envelope, items = ask()
        if plan.private:
            end = Unshared()
            flight.set_exception(end)
        else:
            flight.set_result(envelope)
        if items:
            write(plan, items, envelope, land)
            handed_over = True
        elif end is None:
            end = Unshared()  # other processes would wait in vain for what is not stored
        return envelope, plan.outcome
    except BaseException as error:
        end = error
        if isinstance(error, Exception) and not flight.done():
            flight.set_exception(error)
        raise
    finally:
        if not handed_over:
            land()


def follow(
    flight: Flight[Envelope], read: Callable[[Flight[Envelope], Broadcast], T]
) -> Envelope | T | None:
    """Wait for the leader's answer; None where there is none to have, and the caller is to ask for
    itself.

    Args:
        read: reads the leader's stream, if that is what it has opened.

    Raises:
        Abandoned: somebody else is to lead.
        Exception: the leader's error.
    """
    broadcast = flight.broadcast
    try:
        if broadcast is not None and broadcast.join():
            with suppress(Abandoned):  # the flight knows what has come of it
                return read(flight, broadcast)
        return flight.result(timeout=patience())
    except Abandoned:
        raise
    except Exception as error:
        if isinstance(error, TimeoutError) and not failed_with(flight, error):
            events.count("follower_timeout")
        elif not isinstance(error, Unshared):
            # The leader's error is the followers' too: they don't try again.
            raise own_copy(error) from error
        return None


def _read_to_its_end(flight: Flight[Envelope], stream: Broadcast) -> Envelope:
    """A stream's answer as a whole: it goes on only as far as somebody reads it."""
    try:
        while stream.pull(len(stream.events), patience()):
            pass
    finally:
        stream.leave()
    return flight.result()


def patience() -> float:
    """Seconds that those who follow wait for the next sign of whoever leads."""
    return conf.config().single_flight_timeout


def failed_with(flight: Any, error: Exception) -> bool:
    """Whether an error is the leader's own, and not one of those who wait for it."""
    return flight.done() and flight.exception() is error


def answered_since(
    plan: Plan,
    key: object,
    lookup: Callable[[], Found | None],
    flight: Flight[Envelope],
    listener: Listener | None = None,
) -> tuple[Claim | None, Found | None]:
    """What a leader looks for before it asks upstream: an answer that has been stored since it
    looked, the answer to a similar question, or one that another process is about to have.

    Args:
        listener: for a stream: it may come to hear of one that another process reads.

    Returns:
        The claim that this process now has, if any, and the answer, if there is one.

    Raises:
        UpstreamError: another process asked, and that was its error.
    """
    if plan.landings != flights.landings:
        found = lookup()
        if found is not None:
            return None, found
    found = similar.match(plan)
    if found is not None:
        flight.set_result(found[0])
        return None, found
    return _agree(plan, key, lookup, listener)


def followed(plan: Plan, found: Found) -> Found:
    """What another process has stored, as the outcome that this is for one who waited for it."""
    envelope, outcome = found
    return envelope, COALESCED if outcome == HIT and plan.digest is not None else outcome


def _agree(
    plan: Plan, key: object, lookup: Callable[[], Found | None], listener: Listener | None
) -> tuple[Claim | None, Found | None]:
    """Agree with the other processes who asks: the claim if it is this one, or what another has
    stored meanwhile, or neither if all are to ask for themselves.

    Raises:
        UpstreamError: another asked, and that was its error.
    """
    store = plan.store
    assert store is not None
    backend = store.claims
    if backend is None or plan.outcome == ERROR or store.is_resting:
        return None, None
    claim = Claim(store, backend, plan.digest or claims.name_of(key))
    waiting = Wish() if listener is None else listener
    try:
        held: bytes | None = backend.claim(claim.name, claim.token, claims.lease())
        for pause in claims.pauses(patience()):
            if held is None:
                held = backend.claim(claim.name, claim.token, claims.lease())
            if claim.took(held):
                found = lookup()  # it may have been stored just before the claim
                if found is None:
                    return claim, None
                claim.end()
                return None, followed(plan, found)
            if not claims.is_claim(held):
                claims.read(claim.name, held)
            elif waiting.hears(held, claim):
                return None, None
            sleep(pause)
            held = backend.claimed(claim.name)
            found = lookup()
            if found is not None:
                return None, followed(plan, found)
    except (Unshared, UpstreamError) as told:
        if isinstance(told, UpstreamError):
            raise
        return None, None
    except Exception as error:
        claims.failed(store, error)
        if claim.is_kept:
            claim.end()
        return None, None
    except BaseException:  # whoever waits is not to wait for this one
        claim.end()
        raise
    events.count("follower_timeout")
    return None, None


def own_copy(error: Exception) -> Exception:
    """The error for one more caller, who may change it. One that cannot be copied is shared."""
    try:
        return copy.copy(error)
    except Exception:
        return error


def skips(plan: Plan, items: list[Item]) -> bool:
    """Whether not even to try to store what a call has brought: its caller has waited for the store
    once, and would again.
    """
    if not plan.waited or conf.config().writer != "inline":
        return False
    events.count("write_skipped", len(items))
    return True


def write(
    plan: Plan,
    items: list[Item],
    envelope: Envelope,
    written: Callable[[], None] = lambda: None,
) -> None:
    """Store what a call has brought, by the user's own function where there is one."""
    store = plan.store
    if store is None or not items or skips(plan, items):
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
        add_cache(result, **plans.kwargs(plan.call))
    except Exception as error:
        writer.write_failed(store, error, len(items))
    finally:
        written()
