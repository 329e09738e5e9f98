"""`@cached`, for functions sync and async, generators too."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from functools import update_wrapper
from typing import Any, Final, TypeVar, overload

from llmcache import aclient, caching, client, engine, events, maintenance, state
from llmcache.caching import Cache
from llmcache.calls import Call
from llmcache.controls import parse
from llmcache.engine import Plan
from llmcache.exceptions import InvalidRequest
from llmcache.functions import arguments
from llmcache.functions.upstream import UNSET, FunctionUpstream
from llmcache.functions.values import Codec, NotKept, declared
from llmcache.keys import Uncacheable
from llmcache.response import Response
from llmcache.upstreams import Route

F = TypeVar("F", bound=Callable[..., Any])
_BY_ARGUMENTS: Final = ("key", "namespace", "scope", "tags")
"""Controls that may be functions of the decorated function's arguments."""


@overload
def cached(function: F) -> F: ...
@overload
def cached(
    function: None = None,
    *,
    using: str | None = None,
    ttl: float | None = None,
    tags: Iterable[object] | Callable[..., Iterable[object]] | None = None,
    scope: str | Callable[..., str | None] | None = None,
    namespace: str | Callable[..., str] | None = None,
    key: str | Callable[..., str] | None = None,
    ignore: Iterable[str] = (),
    version: int | str = 1,
    returns: Any = None,
    store_none: bool = True,
    cache: Mapping[str, object] | None = None,
) -> Callable[[F], F]: ...
def cached(
    function: Any = None,
    *,
    using: str | None = None,
    ttl: float | None = None,
    tags: Iterable[object] | Callable[..., Iterable[object]] | None = None,
    scope: str | Callable[..., str | None] | None = None,
    namespace: str | Callable[..., str] | None = None,
    key: str | Callable[..., str] | None = None,
    ignore: Iterable[str] = (),
    version: int | str = 1,
    returns: Any = None,
    store_none: bool = True,
    cache: Mapping[str, object] | None = None,
) -> Any:
    """Cache what a function returns, or yields: sync or async.

    The key is the function's name and its arguments. What JSON cannot give back as it was is
    returned, but never stored, unless the function's annotation (or `returns`) says its type and
    pydantic is installed. The function gets `evict(*args)`, `aevict(*args)`,
    `refresh(*args)` and `cache_key(*args)`.

    Args:
        using: the alias of LLMCACHE; otherwise `llmcache.cache`.
        ttl, tags, scope, namespace, key: as the cache controls of those names; all but ttl may be
            functions of the same arguments.
        ignore: names of arguments that make no difference, such as "self".
        version: part of the key: change it when the function's answers change.
        returns: the type of what it returns or yields, where no annotation says it.
        store_none: whether None is an answer to keep.
        cache: further cache controls, such as {"stale-if-error": 3600}.

    Raises:
        InvalidRequest: a wrong argument.
    """
    controls = {
        "ttl": ttl,
        "tags": tags,
        "scope": scope,
        "namespace": namespace,
        "key": key,
        **(cache or {}),
    }
    parse({name: value for name, value in controls.items() if not callable(value)})

    def decorate(decorated: F) -> F:
        if not inspect.isroutine(decorated):
            raise InvalidRequest(f"@cached decorates a function, not {decorated!r}.")
        made = CachedFunction(decorated, using, controls, tuple(ignore), version, returns)
        made.store_none = store_none
        wrapped: F = made.wrapper()
        return wrapped

    return decorate if function is None else decorate(function)


class CachedFunction:
    """One decorated function.

    Attributes:
        store_none: whether None is stored.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        using: str | None,
        controls: Mapping[str, Any],
        ignore: tuple[str, ...],
        version: int | str,
        returns: Any,
    ) -> None:
        self.function = function
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.store_none = True
        self._using = using
        self._controls = controls
        self._ignore = ignore
        self._version = version
        self._signature = inspect.signature(function)
        for name in ignore:
            if name not in self._signature.parameters:
                raise InvalidRequest.unknown(
                    f"argument of {self.name}", name, self._signature.parameters
                )
        self._yields = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        self._is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(
            function
        )
        expected = declared(function, yields=self._yields) if returns is None else returns
        self._codec = Codec(expected)

    # --- planning ---

    def _plan(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, refresh: bool = False
    ) -> tuple[Plan, FunctionUpstream]:
        function = self.function
        upstream = FunctionUpstream(
            self.name,
            lambda: function(*args, **kwargs),
            self._codec,
            store_none=self.store_none,
        )
        found = {
            name: value(*args, **kwargs) if name in _BY_ARGUMENTS and callable(value) else value
            for name, value in self._controls.items()
        }
        if refresh:
            found["refresh"] = True
        call = Call(
            kind="function",
            is_async=self._is_async,
            model=self.name,
            params={},
            stream=self._yields,
            controls=parse(found),
        )
        try:
            named = arguments.bound(self._signature, self._ignore, args, kwargs)
            call.params = {
                "arguments": arguments.material({} if call.controls.key else named),
                "version": self._version,
            }
        except Uncacheable as error:
            events.warn_once("uncacheable", "A call of %s is not cached: %s", self.name, error)
            call.caching = False
        if call.controls.key is not None:
            # A key of one's own stands for the arguments, not for the function.
            call.controls = parse({**found, "key": f"{self.name} {self._version} {found['key']}"})
        plan = engine.plan(call, self._store(), Route(upstream, self.name, "function"))
        upstream.unkept = lambda: setattr(plan, "write", False)
        return plan, upstream

    def _store(self) -> Cache | None:
        return state.current() if self._using is None else caching.for_alias(self._using)

    def _value(self, answer: Any, upstream: FunctionUpstream) -> Any:
        """What the function gave to this caller, or what was kept of an earlier call."""
        assert isinstance(answer, Response)
        if upstream.value is not UNSET and not answer.cache.hit:
            return upstream.value
        return self._codec.read(answer.raw.partition(b"\n")[2], answer.cache)

    # --- calling ---

    def call(self, args: Any, kwargs: Any, *, refresh: bool = False) -> Any:
        """The function's value, from the store or from the function."""
        plan, upstream = self._plan(args, kwargs, refresh=refresh)
        answer = client.carry_out(plan)
        try:
            return self._value(answer, upstream)
        except NotKept:
            return self.call(args, kwargs, refresh=True)

    async def acall(self, args: Any, kwargs: Any, *, refresh: bool = False) -> Any:
        """As `call`."""
        plan, upstream = self._plan(args, kwargs, refresh=refresh)
        answer = await aclient.carry_out(plan)
        try:
            return self._value(answer, upstream)
        except NotKept:
            return await self.acall(args, kwargs, refresh=True)

    def each(self, args: Any, kwargs: Any, *, refresh: bool = False) -> Iterator[Any]:
        """The values that the function yields, from the store or from the function."""
        plan, upstream = self._plan(args, kwargs, refresh=refresh)
        stream: Any = client.carry_out(plan)
        with stream:
            lines = stream.raw_events()
            next(lines)
            for line in lines:
                live = upstream.value is not UNSET
                yield upstream.value if live else self._codec.read(line, stream.cache)

    async def aeach(self, args: Any, kwargs: Any, *, refresh: bool = False) -> AsyncIterator[Any]:
        """As `each`."""
        plan, upstream = self._plan(args, kwargs, refresh=refresh)
        stream: Any = await aclient.carry_out(plan)
        async with stream:
            lines = stream.raw_events()
            await anext(lines)
            async for line in lines:
                live = upstream.value is not UNSET
                yield upstream.value if live else self._codec.read(line, stream.cache)

    # --- around calls ---

    def cache_key(self, *args: Any, **kwargs: Any) -> str | None:
        """The digest under which a call with these arguments is stored; None if none is."""
        return self._plan(args, kwargs)[0].digest

    def evict(self, *args: Any, **kwargs: Any) -> Any:
        """Remove what a call with these arguments has stored, from all processes."""
        plan = self._plan(args, kwargs)[0]
        if plan.digest is None or plan.store is None:
            return None
        return maintenance.evict(digest=plan.digest, reason=f"{self.name}.evict()")

    async def aevict(self, *args: Any, **kwargs: Any) -> Any:
        """As `evict`."""
        plan = self._plan(args, kwargs)[0]
        if plan.digest is None or plan.store is None:
            return None
        return await maintenance.aevict(digest=plan.digest, reason=f"{self.name}.evict()")

    def wrapper(self) -> Any:
        """The function to put in the decorated one's place: one of the same kind."""
        run: Any
        ask: Any
        if inspect.isasyncgenfunction(self.function):
            ask = self.aeach

            async def run(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
                async for value in self.aeach(args, kwargs):
                    yield value

        elif self._yields:
            ask = self.each

            def run(*args: Any, **kwargs: Any) -> Iterator[Any]:
                yield from self.each(args, kwargs)

        elif self._is_async:
            ask = self.acall

            async def run(*args: Any, **kwargs: Any) -> Any:
                return await self.acall(args, kwargs)

        else:
            ask = self.call

            def run(*args: Any, **kwargs: Any) -> Any:
                return self.call(args, kwargs)

        made: Any = update_wrapper(run, self.function)
        made.cache_key, made.evict, made.aevict = self.cache_key, self.evict, self.aevict
        made.refresh = lambda *args, **kwargs: ask(args, kwargs, refresh=True)
        return made
