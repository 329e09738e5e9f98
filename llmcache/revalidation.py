"""Stale-while-revalidate: an entry whose old answer has just served is renewed in the background,
by a worker where WRITER names a queue, else by a thread or a task of this process.

Whoever renews, does it alone: in a process the callers share one flight and send one task; among
workers `llmcache.refreshing.renew` sees to it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Final

import orjson
from django.db import connections

from llmcache import events, task_queue
from llmcache.backends.base import Item, run_in_thread
from llmcache.engine import Plan
from llmcache.envelope import Envelope
from llmcache.keys import wire_default
from llmcache.singleflight import AsyncFlights, Flights

_HARMLESS: Final = frozenset({"max_retries", "num_retries", "request_timeout", "timeout"})
"""What a call may bring for its client and still be made by a worker: no credential, no address."""
_SEND_AGAIN: Final = 60.0  # seconds until a task that has done nothing is sent once more
_MOST: Final = 10_000

Asked = tuple[Envelope, list[Item]]

_lock = threading.Lock()
_sent: dict[tuple[str, str], float] = {}
_background: Final[set[asyncio.Task[None]]] = set()


def _start_afresh() -> None:
    global _lock
    _lock = threading.Lock()
    _sent.clear()


os.register_at_fork(after_in_child=_start_afresh)


def in_thread(
    plan: Plan,
    flights: Flights[Envelope],
    ask: Callable[[Plan], Asked],
    write: Callable[[Plan, list[Item], Envelope], None],
) -> None:
    """Renew a stale entry, unless somebody is at it already.

    Args:
        flights: those of the driver, so that a caller who needs the new answer can wait for it.
        ask, write: the driver's steps.
    """
    if _recently_sent(plan):
        return
    place = (plan.store, plan.digest)
    flight, leads = flights.join(place)
    if not leads:
        return

    def renew() -> None:
        try:
            if _handed_over(plan):
                return
            envelope, items = ask(plan)
            flight.set_result(envelope)
            write(plan, items, envelope)
        except Exception as error:
            _failed(error)
        finally:
            flights.land(place)
            connections.close_all()

    threading.Thread(target=renew, name="llmcache-refresh", daemon=True).start()


def in_task(
    plan: Plan,
    flights: AsyncFlights[Envelope],
    ask: Callable[[Plan], Awaitable[Asked]],
    write: Callable[[Plan, list[Item], Envelope], Awaitable[object]],
) -> None:
    """As `in_thread`, for the running event loop."""
    if _recently_sent(plan):
        return
    place = (plan.store, plan.digest)
    flight, leads = flights.join(place)
    if not leads:
        return

    async def renew() -> None:
        try:
            if task_queue.chosen() is not None and await run_in_thread(_handed_over, plan):
                return
            envelope, items = await ask(plan)
            flight.set_result(envelope)
            await write(plan, items, envelope)
        except Exception as error:
            _failed(error)
        finally:
            flights.land(place)

    # The loop keeps only weak references to its tasks.
    task = asyncio.get_running_loop().create_task(renew())
    _background.add(task)
    task.add_done_callback(_background.discard)


def _failed(error: Exception) -> None:
    events.count("refresh_error")
    events.logger.warning("A stale entry could not be renewed: %s", error)


# --- handing over ---


def _place(plan: Plan) -> tuple[str, str]:
    assert plan.store is not None and plan.digest is not None
    return plan.store.alias, plan.digest


def _recently_sent(plan: Plan) -> bool:
    """Whether a worker has been told of the entry not long ago."""
    if not _sent:
        return False
    with _lock:
        return monotonic() - _sent.get(_place(plan), -_SEND_AGAIN) < _SEND_AGAIN


def _handed_over(plan: Plan) -> bool:
    """Send the call to a worker, if there is one and the call can travel."""
    queue, store = task_queue.chosen(), plan.store
    if queue is None or store is None or store.custom or not task_queue.reaches(store.backend):
        return False
    request = _request(plan)
    if request is None:
        return False
    alias, digest = _place(plan)
    if not task_queue.send(queue, "refresh_entry", alias=alias, digest=digest, request=request):
        return False
    with _lock:
        now = monotonic()
        if len(_sent) >= _MOST:
            for place in [place for place, at in _sent.items() if now - at >= _SEND_AGAIN]:
                del _sent[place]
        if len(_sent) < _MOST:
            _sent[alias, digest] = now
    return True


def _request(plan: Plan) -> Any:
    """The call as JSON values, as `llmcache.refreshing.renew` takes it; None if it must stay here:
    it has credentials, an address or a route of its own, a file, or no JSON form.
    """
    call, controls, material = plan.call, plan.call.controls, plan.material or {}
    if plan.routed or call.kind == "transcription" or not _HARMLESS.issuperset(call.transport):
        return None
    request = {
        "kind": call.kind,
        "model": call.model,
        "arguments": {
            **call.params,
            **call.unkeyed,
            **call.transport,
            "cache": {
                "ttl": controls.ttl,
                "stale-while-revalidate": controls.stale_while_revalidate,
                "stale-if-error": controls.stale_if_error,
                "tags": controls.tags,
                "key": controls.key,
                "caller": controls.caller,
            },
        },
        # As they were found here: the settings' own functions may say something else in a worker.
        **{name: material.get(name) for name in ("namespace", "scope", "bucket")},
    }
    try:
        data = orjson.dumps(request, default=wire_default, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return None
    return orjson.loads(data) if len(data) <= task_queue.LARGEST else None
