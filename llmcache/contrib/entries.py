"""One entry read, and one written, by hand: for packages that ask their models themselves.

Such a package looks for an answer, gets it elsewhere if there is none, and brings it here. What
happens in between is out of sight: nothing is shared with other callers, and a call that missed is
told of when its answer is brought. Everything else is as with our own calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from time import perf_counter, time
from typing import Any, Final, NamedTuple, TypeVar

import orjson
from asgiref.sync import sync_to_async

from llmcache import (
    afetching,
    answers,
    conf,
    engine,
    events,
    fetching,
    keys,
    prolonging,
    writer,
)
from llmcache.backends.base import Item
from llmcache.caching import for_alias
from llmcache.calls import Call
from llmcache.conf import ProviderSettings
from llmcache.controls import parse
from llmcache.envelope import Envelope
from llmcache.exceptions import InvalidRequest, LLMCacheError, UnsupportedOperation
from llmcache.outcome import HIT, CacheInfo
from llmcache.plans import Plan
from llmcache.recorder import recorder
from llmcache.response import Response
from llmcache.upstreams import Route
from llmcache.upstreams.base import BaseUpstream

T = TypeVar("T")
Opened = Callable[[Any], T]
"""Makes a value of what was given to `write`; raises where that cannot be."""

_KIND: Final = "function"
_MOST_AWAITED: Final = 10_000
_AT_A_TIME: Final = 200


class _Elsewhere(BaseUpstream):
    """Stands for whoever the package asks. It is part of each key, and never asked by us."""

    kinds = frozenset({_KIND})

    def identity(self, base_url: str | None = None) -> str:
        return self.name


class _Missed(NamedTuple):
    """A lookup without an answer: how it would end, and `perf_counter()` when it began."""

    outcome: str
    reason: str
    started: float


class Entries:
    """The entries of one package in one store.

    Args:
        package: its name, part of every key.
        using: the alias of LLMCACHE.
        ttl: seconds; None for the alias's own.
        namespace, tags: of the entries.

    Raises:
        InvalidRequest: an alias that does not exist, or a wrong value.
    """

    def __init__(
        self,
        package: str,
        *,
        using: str,
        namespace: str,
        ttl: float | None = None,
        tags: Iterable[Any] = (),
    ) -> None:
        if using not in conf.backends():
            raise InvalidRequest.unknown("alias of LLMCACHE", using, conf.backends())
        self.using = using
        self.namespace = namespace
        self._controls = parse(
            {"ttl": ttl, "namespace": namespace, "tags": list(tags), "use-cache": True}
        )
        self._upstream = _Elsewhere(ProviderSettings(name=package))
        self._awaited: dict[str, tuple[_Missed, ...]] = {}

    # --- reading ---

    def read(self, model: str, params: dict[str, Any], opened: Opened[T]) -> T | None:
        """What is stored of these parameters; None if nothing is, or it cannot be used."""
        plan = self._plan(model, params)
        found = fetching.lookup(plan) if plan.read else None
        value, info, body = self._accept(plan, found, opened)
        if info is not None and events.listening():
            events.finished(plan.call, info, lambda: Response(body, info))
        return value

    async def aread(self, model: str, params: dict[str, Any], opened: Opened[T]) -> T | None:
        """As `read`."""
        plan = self._plan(model, params, is_async=True)
        found = await afetching.lookup(plan) if plan.read else None
        value, info, body = self._accept(plan, found, opened)
        if info is not None and events.listening():
            await events.afinished(plan.call, info, lambda: Response(body, info))
        return value

    def _plan(
        self,
        model: str,
        params: dict[str, Any],
        tags: tuple[str, ...] = (),
        *,
        is_async: bool = False,
    ) -> Plan:
        controls = self._controls
        if tags:
            controls = replace(controls, tags=tuple(sorted({*controls.tags, *tags})))
        call = Call(kind=_KIND, is_async=is_async, model=model, params=params, controls=controls)
        route = Route(self._upstream, model, self._upstream.identity())
        return engine.plan(call, for_alias(self.using), route)

    def _accept(
        self, plan: Plan, found: fetching.Found | None, opened: Opened[T]
    ) -> tuple[T | None, CacheInfo | None, bytes]:
        """The value of an entry, with its CacheInfo and its body; without one, a miss is noted."""
        if found is not None:
            envelope, outcome = found
            body = engine.body_of(_KIND, envelope)
            try:
                value = opened(orjson.loads(body))
            except Exception as error:
                events.warn_once("unreadable", "An entry cannot be read back: %r", error)
                plan.reason = "the entry cannot be read back"
            else:
                now = time()
                info = engine.served(plan, envelope, outcome, now)
                recorder.call(plan, info, now)
                if outcome == HIT:
                    prolonging.hit(plan, info.key, envelope)
                return value, info, body
        if plan.digest is not None:
            self._await(plan.digest, _Missed(plan.outcome, plan.reason, plan.started))
        return None, None, b""

    def _await(self, digest: str, missed: _Missed) -> None:
        # No lock, which a forked child could inherit held: a race costs a row of the log at most.
        awaited = self._awaited
        awaited[digest] = (*awaited.get(digest, ()), missed)
        if len(awaited) > _MOST_AWAITED:  # answers that never came
            with suppress(RuntimeError, StopIteration):
                awaited.pop(next(iter(awaited)), None)

    def _missed(self, digest: str | None) -> _Missed | None:
        waiting = self._awaited.pop(digest or "", ())
        if len(waiting) > 1:
            self._awaited[digest or ""] = waiting[1:]
        return waiting[0] if waiting else None

    # --- writing ---

    def write(
        self, model: str, params: dict[str, Any], value: Mapping[str, Any], *tags: str
    ) -> None:
        """Store a value under its parameters. Never raises for what cannot be stored.

        Args:
            value: JSON; a `usage` in it, in a provider's words, is what the answer took.
        """
        plan = self._plan(model, params, tags)
        envelope, items, info = self._prepare(plan, value)
        fetching.write(plan, items, envelope)
        if info is not None and events.listening():
            events.finished(plan.call, info, lambda: Response(envelope.payload, info))

    async def awrite(
        self, model: str, params: dict[str, Any], value: Mapping[str, Any], *tags: str
    ) -> None:
        """As `write`."""
        plan = self._plan(model, params, tags, is_async=True)
        envelope, items, info = self._prepare(plan, value)
        await afetching.write(plan, items, envelope)
        if info is not None and events.listening():
            await events.afinished(plan.call, info, lambda: Response(envelope.payload, info))

    def _prepare(
        self, plan: Plan, value: Mapping[str, Any]
    ) -> tuple[Envelope, list[Item], CacheInfo | None]:
        """The new entry, what of it is to be stored, and how the call that it answers ended."""
        missed = self._missed(plan.digest)
        now = time()
        seconds = 0.0
        if missed is not None:
            seconds = perf_counter() - missed.started
            plan.outcome, plan.reason, plan.started = missed
        try:
            keys.refuse_not_finite(value.values())
            body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
        except (TypeError, RecursionError, keys.Uncacheable) as error:
            events.warn_once("uncacheable", "An answer is not stored: %s", error)
            plan.reason = f"not stored: {error}"
            envelope, item = answers.unstored(b"{}", now), None
        else:
            envelope, item = answers.prepare(plan, body, now, seconds)
        info = None
        if missed is not None:
            info = plan.info(plan.outcome, plan.reason, envelope)
            recorder.call(plan, info, now)
        return envelope, [] if item is None else [item], info

    # --- removing and listing, by the index ---

    def clear(self) -> int:
        """Remove all entries of the namespace from this store, in all processes; how many.

        Raises:
            UnsupportedOperation: there is no index of entries.
            LLMCacheError: the store failed, and entries stayed.
        """
        from llmcache import maintenance  # here, as all that knows the models

        self._need_index("clear()")
        done = maintenance.evict(namespace=self.namespace, alias=self.using)
        if done.failed:
            raise LLMCacheError(f"{done.failed} entries stayed: {done.problems}")
        return done.removed

    aclear: Final = sync_to_async(clear)
    """As `clear`, for async code."""

    def delete(self, model: str, params: dict[str, Any]) -> bool:
        """Remove one entry, in all processes; False if there was none.

        Raises:
            LLMCacheError: the store failed, and the entry stayed.
        """
        plan = self._plan(model, params)
        if plan.store is None or plan.digest is None:
            return False
        if not recorder.is_on:
            return plan.store.backend.delete(plan.digest)
        from llmcache import maintenance

        done = maintenance.evict(digest=plan.digest, alias=self.using)
        if done.failed:
            raise LLMCacheError(f"The entry stayed: {done.problems}")
        return bool(done.removed)

    adelete: Final = sync_to_async(delete)
    """As `delete`, for async code."""

    def tagged(self, model: str, tag: str) -> Iterator[Any]:
        """What was given to `write` with this model and tag, in the scope in force.

        Raises:
            UnsupportedOperation: there is no index of entries.
        """
        from llmcache.invalidation import database
        from llmcache.models import Entry
        from llmcache.text import name_of

        self._need_index("get_all()")
        plan = self._plan(model, {})
        if plan.store is None or not plan.read:
            return
        rows = (
            Entry.objects.using(database())
            .filter(
                alias=self.using,
                kind=_KIND,
                model=name_of(model),
                namespace=name_of(self.namespace),
                scope=name_of((plan.material or {}).get("scope")),
            )
            .tagged(name_of(tag))
            .live()
        )
        digests = list(rows.order_by("pk").values_list("digest", flat=True))
        for start in range(0, len(digests), _AT_A_TIME):
            part = digests[start : start + _AT_A_TIME]
            for digest, data in plan.store.backend.get_many(part).items():
                envelope = engine.unwrap(plan, digest, data)
                if envelope is not None and engine.judge(plan, envelope, time()):
                    yield orjson.loads(engine.body_of(_KIND, envelope))

    def _need_index(self, what: str) -> None:
        if not recorder.is_on:
            raise UnsupportedOperation(
                f"{what} needs the index of entries, which is not written here: set "
                "LLMCACHE_CONFIG['RECORDER'] to 'database', or evict by digest."
            )
        writer.flush()
        recorder.flush()
