"""One cached function: its calls, sync and async, whole and in parts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from llmcache import aclient, client, events, plans
from llmcache.calls import Call
from llmcache.controls import Controls, parse
from llmcache.functions.arguments import Arguments
from llmcache.functions.upstream import FunctionCall
from llmcache.functions.values import Forms
from llmcache.keys import Uncacheable
from llmcache.outcome import HIT, SERVED, CacheInfo
from llmcache.own_code import called, changed, is_running, joined_scope, planned, store_of
from llmcache.streaming import AsyncRecorded, Recorded

_DAMAGED = (ValueError, LookupError, TypeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """A decorated function; `cached` says what each of these means."""

    function: Callable[..., Any]
    name: str
    arguments: Arguments
    forms: Forms
    using: str | None
    controls: Controls
    key: Any
    tags: Any
    scope: Any
    namespace: Any
    version: Any
    is_async: bool
    streams: bool

    def plan(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, refresh: bool = False
    ) -> tuple[FunctionCall, plans.Plan]:
        """A call and its plan.

        Raises:
            TypeError: the function cannot be called with these arguments.
            Uncacheable: an argument has no canonical form.
        """
        key = called(self.key, "key", *args, **kwargs)
        params: dict[str, Any] = {}
        if self.version is not None:
            params["version"] = self.version
        if key is None:
            params["arguments"] = self.arguments.canonical(args, kwargs)
        else:
            params["key"] = key
        call = Call(
            kind="function",
            is_async=self.is_async,
            model=self.name,
            params=params,
            stream=self.streams,
            controls=self._controls(args, kwargs, refresh),
        )
        asked = FunctionCall(self.function, self.name, self.forms, args, kwargs)
        return asked, planned(call, store_of(self.using), asked)

    def _controls(self, args: tuple[Any, ...], kwargs: dict[str, Any], refresh: bool) -> Controls:
        base = self.controls
        own = called(self.scope, "scope", *args, **kwargs) or base.scope
        changes: dict[str, Any] = {"scope": joined_scope(own, plans.configured_scope())}
        if callable(self.tags):
            tags = parse({"tags": called(self.tags, "tags", *args, **kwargs)}).tags
            changes["tags"] = tuple(sorted({*base.tags, *tags}))
        if callable(self.namespace):
            changes["namespace"] = called(self.namespace, "namespace", *args, **kwargs)
        if refresh:
            changes["no_cache"] = True
        return changed(base, changes)

    def _bypassed(self, error: Uncacheable) -> None:
        events.warn_once("uncacheable", "%s bypasses the cache: %s", self.name, error)

    def _damaged(self, error: Exception) -> None:
        events.warn_once("unreadable", "%s: an entry cannot be used: %r", self.name, error)

    # --- whole results ---

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, refresh: bool = False) -> Any:
        """The function's result, from the cache or new."""
        try:
            asked, plan = self.plan(args, kwargs, refresh=refresh)
        except Uncacheable as error:
            self._bypassed(error)
            return self.function(*args, **kwargs)
        if is_running(plan):
            return asked.start()
        answer: Any = client.carry_out(plan)
        if answer.cache.outcome == HIT:
            asked.plan = None  # each knows the other: the collector of garbage would have to come
        elif answer.cache.outcome not in SERVED:
            return asked.value
        try:
            return self.forms.opened(answer.raw, answer.cache)
        except _DAMAGED as error:
            self._damaged(error)
            return asked.start() if refresh else self.run(args, kwargs, refresh=True)

    async def arun(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, refresh: bool = False
    ) -> Any:
        """As `run`."""
        try:
            asked, plan = self.plan(args, kwargs, refresh=refresh)
        except Uncacheable as error:
            self._bypassed(error)
            return await self.function(*args, **kwargs)
        if is_running(plan):
            return await asked.start()
        answer: Any = await aclient.carry_out(plan)
        if answer.cache.outcome == HIT:
            asked.plan = None  # each knows the other: the collector of garbage would have to come
        elif answer.cache.outcome not in SERVED:
            return asked.value
        try:
            return self.forms.opened(answer.raw, answer.cache)
        except _DAMAGED as error:
            self._damaged(error)
            return await (asked.start() if refresh else self.arun(args, kwargs, refresh=True))

    # --- generators ---

    def _replayed(self, lines: Iterable[bytes], info: CacheInfo) -> list[Any] | None:
        """All values of an entry, read before the first is given: whoever has had some cannot be
        told that the rest is damaged. None if the entry cannot be used."""
        try:
            return self.forms.replayed(lines, info)
        except _DAMAGED as error:
            self._damaged(error)
            return None

    def generate(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, refresh: bool = False
    ) -> Iterator[Any]:
        """The values that the generator yields, from the cache or as they come."""
        try:
            asked, plan = self.plan(args, kwargs, refresh=refresh)
        except Uncacheable as error:
            self._bypassed(error)
            yield from self.function(*args, **kwargs)
            return
        stream: Any = client.carry_out(plan)
        info = stream.cache
        if isinstance(stream, Recorded):
            values = self._replayed(stream.raw_events(), info)
            yield from self.generate(args, kwargs, refresh=True) if values is None else values
            return
        try:
            lines = stream.raw_events()
            next(lines, None)
            for line in lines:
                yield self.forms.read_line(line, info) if info.hit else asked.value
        finally:
            stream.close()

    async def agenerate(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, refresh: bool = False
    ) -> AsyncGenerator[Any, None]:
        """As `generate`."""
        try:
            asked, plan = self.plan(args, kwargs, refresh=refresh)
        except Uncacheable as error:
            self._bypassed(error)
            async for value in self.function(*args, **kwargs):
                yield value
            return
        stream: Any = await aclient.carry_out(plan)
        info = stream.cache
        if isinstance(stream, AsyncRecorded):
            values = self._replayed([line async for line in stream.raw_events()], info)
            if values is None:
                async with aclosing(self.agenerate(args, kwargs, refresh=True)) as made:
                    async for value in made:
                        yield value
            else:
                for value in values:
                    yield value
            return
        try:
            lines = stream.raw_events()
            await anext(lines, None)
            async for line in lines:
                yield self.forms.read_line(line, info) if info.hit else asked.value
        finally:
            await stream.aclose()

    # --- entries ---

    def cache_key(self, *args: Any, **kwargs: Any) -> str:
        """The digest under which the result of a call with these arguments is stored.

        Raises:
            Uncacheable: an argument has no canonical form, or the cache is off.
        """
        _, plan = self.plan(args, kwargs)
        if plan.digest is None:
            raise Uncacheable(f"{self.name} bypasses the cache: {plan.reason}")
        return plan.digest

    def evict(self, *args: Any, **kwargs: Any) -> Any:
        """Remove the result of a call with these arguments, from all processes.

        Returns:
            What was removed, an `llmcache.maintenance.Evicted`.

        Raises:
            Uncacheable: as `cache_key`.
        """
        from llmcache import maintenance  # has models, which are loaded after the modules of apps

        _, plan = self.plan(args, kwargs)
        if plan.digest is None or plan.store is None:
            raise Uncacheable(f"{self.name} bypasses the cache: {plan.reason}")
        return maintenance.evict(digest=plan.digest, alias=plan.store.alias, reason=self.name)
