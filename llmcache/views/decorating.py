"""`cached_completion`: the decorator of views, and what it refuses to be told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial, wraps
from typing import Any, Final, TypeVar, overload

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest

from llmcache.configuration import CLIENTS_MAY
from llmcache.exceptions import InvalidRequest
from llmcache.own_code import base_controls, check_text
from llmcache.views import scopes
from llmcache.views.scopes import UNSET, Rule
from llmcache.views.serving import Options, Visit, aserve, serve

View = TypeVar("View", bound=Callable[..., Any])
METHODS: Final = ("GET", "HEAD", "POST")


@overload
def cached_completion(view: View) -> View: ...


@overload
def cached_completion(
    *,
    using: str | None = None,
    ttl: float | None = None,
    tags: Any = None,
    scope: Rule = UNSET,
    namespace: str | Callable[..., str | None] | None = None,
    key: str | Callable[..., str | None] | None = None,
    vary_on: Collection[str] = (),
    methods: Collection[str] = METHODS,
    client_controls: Collection[str] | None = None,
    cache: Mapping[str, Any] | None = None,
    expose: bool = True,
) -> Callable[[View], View]: ...


def cached_completion(
    view: View | None = None,
    *,
    using: str | None = None,
    ttl: float | None = None,
    tags: Any = None,
    scope: Rule = UNSET,
    namespace: str | Callable[..., str | None] | None = None,
    key: str | Callable[..., str | None] | None = None,
    vary_on: Collection[str] = (),
    methods: Collection[str] = METHODS,
    client_controls: Collection[str] | None = None,
    cache: Mapping[str, Any] | None = None,
    expose: bool = True,
) -> View | Callable[[View], View]:
    """Cache what a view answers: a whole response or a stream, of a sync or an async view.

    Args:
        using: the LLMCACHE alias; otherwise the cache in force.
        ttl: seconds to keep an answer; the alias's own if not given.
        tags: labels to evict by, or a function of the view's arguments that returns them.
        scope: whose the answers are: "user", "session", None for all visitors', a function of the
            request, or its dotted path; REQUEST_SCOPE if not given.
        namespace: part of the key: a string or a function of the view's arguments.
        key: in place of the request's path, query and body: a string or a function of the view's
            arguments. Method, language, time zone, `vary_on` and scope stay parts of the key.
        vary_on: names of request headers that are part of the key.
        methods: those that are cached; others pass. HEAD is answered from what GET has left.
        client_controls: the directives of a request's Cache-Control that visitors may use;
            CLIENT_CONTROLS if not given.
        cache: further controls, as for `llmcache.completion`.
        expose: whether the answer's headers tell of the entry's key and the figures.

    Raises:
        InvalidRequest: an argument is wrong; raised where the decorator is written.
    """
    given = dict(cache or {})
    if key is None and isinstance(given.get("key"), str):
        key = given.pop("key")
    for name, value in (("key", key), ("namespace", namespace), ("using", using)):
        check_text(name, value)
    scopes.check(scope)
    options = Options(
        using=using,
        controls=base_controls(given, {"ttl": ttl, "tags": tags, "namespace": namespace}),
        tags=tags,
        scope=scope,
        namespace=namespace,
        key=key,
        vary_on=tuple(sorted({name.title() for name in _names("vary_on", vary_on)})),
        methods=_methods(methods),
        client_controls=_directives(client_controls),
        expose=expose,
    )
    if view is not None:
        return _decorated(view, options)
    return lambda decorated: _decorated(decorated, options)


def _names(argument: str, value: object) -> Collection[str]:
    if isinstance(value, (list, tuple, set, frozenset)) and all(
        isinstance(name, str) and name for name in value
    ):
        return value
    raise InvalidRequest(f"{argument} must be a list of names, not {value!r}.")


def _methods(value: object) -> frozenset[str]:
    names = frozenset(name.upper() for name in _names("methods", value))
    for name in names:
        if name not in METHODS:
            raise InvalidRequest.unknown("method that can be cached", name, METHODS)
    return names


def _directives(value: object) -> frozenset[str] | None:
    if value is None:
        return None
    names = frozenset(_names("client_controls", value))
    for name in names:
        if name not in CLIENTS_MAY:
            raise InvalidRequest.unknown("directive of Cache-Control", name, CLIENTS_MAY)
    return names


def _decorated(view: View, options: Options) -> View:
    if isinstance(view, type) or not callable(view):
        raise InvalidRequest(
            f"cached_completion decorates views, not {view!r}. Write @cached_completion(...) with "
            "named arguments; for a class use "
            '@method_decorator(cached_completion(...), name="dispatch").'
        )
    name, is_async = _name_of(view), _is_async(view)

    def passes(request: object) -> bool:
        if not isinstance(request, HttpRequest):
            raise InvalidRequest(
                f"{name} got {request!r} in place of a request. On a method, write "
                "@method_decorator(cached_completion(...))."
            )
        return request.method not in options.methods

    wrapped: Any
    if is_async:

        @wraps(view)
        async def wrapped(request: Any, *args: Any, **kwargs: Any) -> Any:
            if passes(request):
                return await view(request, *args, **kwargs)
            scope = await scopes.aof(options.scope, request)
            return await aserve(Visit(options, view, name, request, args, kwargs, scope))

    else:

        @wraps(view)
        def wrapped(request: Any, *args: Any, **kwargs: Any) -> Any:
            if passes(request):
                return view(request, *args, **kwargs)
            scope = scopes.of(options.scope, request)
            return serve(Visit(options, view, name, request, args, kwargs, scope))

    return wrapped  # type: ignore[no-any-return]


def _owner(view: Any) -> Any:
    """The object whose method `method_decorator` hands over as a view."""
    method = view.func if isinstance(view, partial) else view
    return getattr(method, "__self__", None)


def _name_of(view: Any) -> str:
    named = view.func if isinstance(view, partial) else view
    owner = _owner(view)
    if owner is not None:
        kind = owner if isinstance(owner, type) else type(owner)
        method = getattr(named, "__name__", "dispatch")
        end = "" if method == "dispatch" else f".{method}"
        return f"{kind.__module__}.{kind.__qualname__}{end}"
    if not hasattr(named, "__qualname__"):
        named = type(named)
    named = getattr(named, "view_class", named)
    return f"{named.__module__}.{named.__qualname__}"


def _is_async(view: Any) -> bool:
    # The `dispatch` of a class of async handlers is a plain function that gives back coroutines.
    return iscoroutinefunction(view) or bool(getattr(_owner(view), "view_is_async", False))
