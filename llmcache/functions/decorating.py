"""`cached`: the decorator of functions, and what it refuses to be told."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any, TypeVar, overload

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async

from llmcache.exceptions import InvalidRequest
from llmcache.functions.arguments import Arguments
from llmcache.functions.calling import Cached
from llmcache.functions.values import Forms
from llmcache.own_code import base_controls, check_text

F = TypeVar("F", bound=Callable[..., Any])


@overload
def cached(function: F) -> F: ...


@overload
def cached(
    *,
    key: str | Callable[..., str | None] | None = None,
    ttl: float | None = None,
    tags: Any = None,
    scope: str | Callable[..., str | None] | None = None,
    namespace: str | Callable[..., str | None] | None = None,
    using: str | None = None,
    ignore: Collection[str] = (),
    cache: Mapping[str, Any] | None = None,
    version: str | int | None = None,
    returns: type | None = None,
    store_none: bool = True,
) -> Callable[[F], F]: ...


def cached(
    function: F | None = None,
    *,
    key: str | Callable[..., str | None] | None = None,
    ttl: float | None = None,
    tags: Any = None,
    scope: str | Callable[..., str | None] | None = None,
    namespace: str | Callable[..., str | None] | None = None,
    using: str | None = None,
    ignore: Collection[str] = (),
    cache: Mapping[str, Any] | None = None,
    version: str | int | None = None,
    returns: type | None = None,
    store_none: bool = True,
) -> F | Callable[[F], F]:
    """Cache what a function returns or a generator yields, sync or async, by its arguments.

    Args:
        key: in place of the arguments: a string or a function of them.
        ttl: seconds to keep a result; the alias's own if not given.
        tags: labels to evict by, or a function of the arguments that returns them.
        scope: whose the results are: a string or a function of the arguments.
        namespace: part of the key: a string or a function of the arguments.
        using: the LLMCACHE alias; otherwise the cache in force.
        ignore: names of arguments that cannot change the result.
        cache: further controls, as for `llmcache.completion`.
        version: part of the key: change it when the function's results change.
        returns: the pydantic class of the results, where the annotation does not name it.
        store_none: whether a result of None is stored.

    The decorated function has `cache_key`, `evict`, `aevict`, `refresh` and `arefresh`, which take
    its arguments, and `__wrapped__`.

    Raises:
        InvalidRequest: an argument is wrong; raised where the decorator is written.
    """
    given = dict(cache or {})
    if key is None and isinstance(given.get("key"), str):
        key = given.pop("key")
    texts = {"key": key, "scope": scope, "namespace": namespace, "using": using}
    for name, value in texts.items():
        check_text(name, value)
    if isinstance(ignore, str) or not all(isinstance(name, str) for name in ignore):
        raise InvalidRequest(f'ignore must be a list of names such as ("self",), not {ignore!r}.')
    if version is not None and not isinstance(version, (str, int)):
        raise InvalidRequest(f"version must be a string or an integer, not {version!r}.")
    if returns is not None and not hasattr(returns, "model_validate_json"):
        raise InvalidRequest(f"returns must be a pydantic class, not {returns!r}.")
    said: dict[str, Any] = {
        "using": using,
        "controls": base_controls(given, {"ttl": ttl, "tags": tags, "namespace": namespace}),
        "key": key,
        "tags": tags,
        "scope": scope,
        "namespace": namespace,
        "version": version,
    }
    ignored = frozenset(ignore)

    def decorate(decorated: F) -> F:
        return _decorated(_described(decorated, said, ignored, returns, store_none))  # type: ignore[no-any-return]

    return decorate if function is None else decorate(function)


def _described(
    function: Any,
    said: dict[str, Any],
    ignore: frozenset[str],
    returns: type | None,
    store_none: bool,
) -> Cached:
    if isinstance(function, (staticmethod, classmethod)):
        raise InvalidRequest(
            f"Write @{type(function).__name__} above @cached, not below it: cached decorates the "
            "function itself."
        )
    if not callable(function) or isinstance(function, type):
        raise InvalidRequest(
            f"cached decorates functions, not {function!r}. Write @cached, or @cached(...) with "
            "named arguments."
        )
    try:
        signature = inspect.signature(function)
    except ValueError as error:
        raise InvalidRequest(
            f"cached cannot read the arguments of {function!r}: wrap it in a function of your own."
        ) from error
    parameters = signature.parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    for name in ignore:
        if name not in parameters and not takes_any:
            raise InvalidRequest.unknown("argument in ignore", name, parameters)
    streams = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    named = function if hasattr(function, "__qualname__") else type(function)
    return Cached(
        function=function,
        name=f"{named.__module__}.{named.__qualname__}",
        arguments=Arguments(signature, ignore),
        forms=Forms(function, returns, store_none=store_none),
        is_async=iscoroutinefunction(function) or inspect.isasyncgenfunction(function),
        streams=streams,
        **said,
    )


def _decorated(cached: Cached) -> Any:
    wrapped: Any
    function = cached.function
    if cached.streams and cached.is_async:

        @wraps(function)
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            values = cached.agenerate(args, kwargs)
            try:
                async for value in values:
                    yield value
            finally:
                await values.aclose()

    elif cached.streams:

        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            yield from cached.generate(args, kwargs)

    elif cached.is_async:

        @wraps(function)
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            return await cached.arun(args, kwargs)

    else:

        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return cached.run(args, kwargs)

    wrapped.cache_key = cached.cache_key
    wrapped.evict = cached.evict
    wrapped.aevict = sync_to_async(cached.evict)
    wrapped.refresh, wrapped.arefresh = _refreshing(cached)
    return wrapped


def _refreshing(cached: Cached) -> tuple[Any, Any]:
    """Functions that make a result anew, store it and return it; of a generator, a list."""

    def refresh(*args: Any, **kwargs: Any) -> Any:
        if cached.streams:
            return list(cached.generate(args, kwargs, refresh=True))
        return cached.run(args, kwargs, refresh=True)

    async def arefresh(*args: Any, **kwargs: Any) -> Any:
        if cached.streams:
            return [value async for value in cached.agenerate(args, kwargs, refresh=True)]
        return await cached.arun(args, kwargs, refresh=True)

    if cached.is_async:
        return async_to_sync(arefresh), arefresh
    return refresh, sync_to_async(refresh)
