"""Stale-while-revalidate: an entry whose old answer has just served is renewed in the background,
by a worker where WRITER names a queue, else by a thread or a task of this process.

Whoever renews, does it alone: in a process the callers share one flight and send one task; among
processes whoever has the claim in their store; among workers `llmcache.refreshing.renew` sees to
it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic, time
from typing import Any, Final

import orjson
from django.db import connections

from llmcache import afetching, claims, events, fetching, task_queue, threads
from llmcache.backends.base import Item, run_in_thread
from llmcache.claims import Claim
from llmcache.envelope import Envelope, EnvelopeError, unseal
from llmcache.keys import wire_default
from llmcache.plans import Plan
from llmcache.singleflight import Unshared
from llmcache.store import Store

_HARMLESS: Final = frozenset({"max_retries", "num_retries", "request_timeout", "timeout"})
"""What a call may bring for its client and still be made by a worker: no credential, no address."""
_SEND_AGAIN: Final = 60.0  # seconds until a task that has done nothing is sent once more
_MOST: Final = 10_000

Asked = tuple[Envelope, list[Item]]
Key = str | tuple[str, ...]
"""What is to be renewed: an entry's digest, or those of several items of one embedding call."""

_lock = threading.Lock()
_sent: dict[tuple[str, str, float], float] = {}
_background: Final[set[asyncio.Task[None]]] = set()


def _start_afresh() -> None:
    global _lock
    _lock = threading.Lock()
    _sent.clear()


os.register_at_fork(after_in_child=_start_afresh)


def in_thread(plan: Plan, key: Key, ask: Callable[[], Asked], made: float = 0.0) -> None:
    """Renew what is stale, unless somebody is at it already.

    Args:
        key: the flight's, so that a caller who needs the new answer can wait for it.
        ask: calls upstream.
        made: unix seconds at which the entry was made; 0.0 for several items.
    """
    if _recently_sent(plan, made):
        return
    place = (plan.store, key)
    flight, leads = fetching.flights.join(place)
    if not leads:
        return
    claim: Claim | None = None
    end: BaseException | None = None

    @fetching.once
    def land() -> None:
        if claim is not None:
            claim.end(end)
        fetching.flights.land(place)

    def renew() -> None:
        nonlocal claim, end
        stored_elsewhere = False  # whether whoever stores the answer ends the flight
        try:
            if _handed_over(plan, made):
                return
            mine, claim = _agree(plan, key)
            if not mine:
                return
            envelope, items = ask()
            if plan.private:
                end = Unshared()
                flight.set_exception(end)
            else:
                flight.set_result(envelope)
            if items:
                fetching.write(plan, items, envelope, land)
                stored_elsewhere = True
            elif end is None:
                end = Unshared()
        except Exception as error:
            end = error
            if not flight.done():
                flight.set_exception(error)
            _failed(error)
        finally:
            if not stored_elsewhere:
                land()
            connections.close_all()

    if threads.started(renew, "refresh") is None:
        land()


def in_task(plan: Plan, key: Key, ask: Callable[[], Awaitable[Asked]], made: float = 0.0) -> None:
    """As `in_thread`, for the running event loop."""
    if _recently_sent(plan, made):
        return
    place = (plan.store, key)
    flight, leads = afetching.flights.join(place)
    if not leads:
        return

    async def renew() -> None:
        claim: Claim | None = None
        end: BaseException | None = None
        try:
            if task_queue.chosen() is not None and await run_in_thread(_handed_over, plan, made):
                return
            mine, claim = await _aagree(plan, key)
            if not mine:
                return
            envelope, items = await ask()
            if plan.private:
                end = Unshared()
                flight.set_exception(end)
            else:
                flight.set_result(envelope)
            if items:
                written = claim.end if claim is not None else None
                if await afetching.write(plan, items, envelope, written):
                    claim = None  # whoever stores the answer ends it
            elif end is None:
                end = Unshared()
        except Exception as error:
            end = error
            if not flight.done():
                flight.set_exception(error)
            _failed(error)
        except BaseException as error:  # the loop ends
            end = error
            raise
        finally:
            afetching.flights.land(place)
            if claim is not None:
                await afetching.in_any_case(claim.aend(end))

    # The loop keeps only weak references to its tasks.
    task = asyncio.get_running_loop().create_task(renew())
    _background.add(task)
    task.add_done_callback(_background.discard)


# --- one among all processes ---


def _agree(plan: Plan, key: Key) -> tuple[bool, Claim | None]:
    """Whether this process is to renew, and its claim where the store has claims."""
    claim = _claim(plan, key)
    if claim is None:
        return True, None
    backend, mine = claim.backend, False
    try:
        mine = claim.took(backend.claim(claim.name, claim.token, claims.lease()))
        if not mine:
            return False, None
        stored = backend.get_many(_digests(key))  # another may have renewed it just before
    except Exception as error:
        claims.failed(claim.store, error)
        return True, claim if mine else None
    if not _is_fresh(claim.store, stored, key):
        return True, claim
    claim.end()
    return False, None


async def _aagree(plan: Plan, key: Key) -> tuple[bool, Claim | None]:
    """As `_agree`."""
    claim = _claim(plan, key)
    if claim is None:
        return True, None
    backend, mine = claim.backend, False
    try:
        mine = claim.took(await backend.aclaim(claim.name, claim.token, claims.lease()))
        if not mine:
            return False, None
        stored = await backend.aget_many(_digests(key))
    except Exception as error:
        claims.failed(claim.store, error)
        return True, claim if mine else None
    except BaseException:  # the loop ends
        await afetching.in_any_case(claim.aend())
        raise
    if not _is_fresh(claim.store, stored, key):
        return True, claim
    await claim.aend()
    return False, None


def _claim(plan: Plan, key: Key) -> Claim | None:
    store = plan.store
    if store is None or store.claims is None or store.is_resting:
        return None
    return Claim(store, store.claims, plan.digest or claims.name_of(key))


def _digests(key: Key) -> Sequence[str]:
    return [key] if isinstance(key, str) else key


def _is_fresh(store: Store, stored: Mapping[str, bytes], key: Key) -> bool:
    """Whether nothing of what is to be renewed is stale any more."""
    now = time()
    try:
        return all(
            digest in stored and now < unseal(digest, stored[digest], signed=store.signed).expires
            for digest in _digests(key)
        )
    except EnvelopeError:
        return False


def _failed(error: Exception) -> None:
    events.count("refresh_error")
    events.logger.warning("A stale entry could not be renewed: %s", error)


# --- handing over ---


def _place(plan: Plan, made: float) -> tuple[str, str, float]:
    assert plan.store is not None and plan.digest is not None
    return plan.store.alias, plan.digest, made


def _recently_sent(plan: Plan, made: float) -> bool:
    """Whether a worker has been told of this very entry not long ago. One that has taken its place
    since, and is stale in its turn, is another."""
    if not _sent or plan.digest is None:
        return False
    with _lock:
        return monotonic() - _sent.get(_place(plan, made), -_SEND_AGAIN) < _SEND_AGAIN


def _handed_over(plan: Plan, made: float) -> bool:
    """Send the call to a worker, if there is one and the call can travel. Items of an embedding
    call cannot: they are renewed together, by one call of this process."""
    queue, store = task_queue.chosen(), plan.store
    if (
        plan.digest is None
        or queue is None
        or store is None
        or store.custom
        or not task_queue.reaches(store.backend)
    ):
        return False
    request = _request(plan)
    if request is None:
        return False
    place = alias, digest, _ = _place(plan, made)
    if not task_queue.send(queue, "refresh_entry", alias=alias, digest=digest, request=request):
        return False
    with _lock:
        now = monotonic()
        if len(_sent) >= _MOST:
            for old in [old for old, at in _sent.items() if now - at >= _SEND_AGAIN]:
                del _sent[old]
        if len(_sent) < _MOST:
            _sent[place] = now
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
