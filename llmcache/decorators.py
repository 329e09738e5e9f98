"""The second door: decorators for views and for functions of one's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial, wraps
from typing import Any, overload

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest

from llmcache.controls import parse
from llmcache.exceptions import InvalidRequest
from llmcache.functions import cached as cached
from llmcache.http.cache_control import CLIENTS_MAY
from llmcache.views.caching import UNSET, Options, aanswer, answer

View = Callable[..., Any]
_METHODS = ("GET", "HEAD", "POST")


@overload
def cached_completion(view: View) -> View: ...
@overload
def cached_completion(
    view: None = None,
    *,
    using: str | None = None,
    ttl: float | None = None,
    tags: Iterable[object] | Callable[[HttpRequest], Iterable[object]] | None = None,
    scope: Any = UNSET,
    namespace: str | Callable[[HttpRequest], str] | None = None,
    key: str | Callable[[HttpRequest], str] | None = None,
    vary_on: Iterable[str] = (),
    methods: Iterable[str] = _METHODS,
    client_controls: Collection[str] | None = None,
    cache: Mapping[str, object] | None = None,
    expose: bool = True,
) -> Callable[[View], View]: ...
def cached_completion(
    view: View | None = None,
    *,
    using: str | None = None,
    ttl: float | None = None,
    tags: Iterable[object] | Callable[[HttpRequest], Iterable[object]] | None = None,
    scope: Any = UNSET,
    namespace: str | Callable[[HttpRequest], str] | None = None,
    key: str | Callable[[HttpRequest], str] | None = None,
    vary_on: Iterable[str] = (),
    methods: Iterable[str] = _METHODS,
    client_controls: Collection[str] | None = None,
    cache: Mapping[str, object] | None = None,
    expose: bool = True,
) -> View | Callable[[View], View]:
    """Cache what a view answers: sync or async, whole or streamed; with `method_decorator`, or
    around `as_view()`, a class-based one.

    Args:
        using: the alias of LLMCACHE; otherwise `llmcache.cache`.
        ttl, tags, namespace, key: as the cache controls of those names; all but ttl may be
            functions of the request.
        scope: whose answers they are: "user", "session", None for everybody's, or a function of
            the request that returns a text or None, or its dotted path; otherwise REQUEST_SCOPE.
        vary_on: names of request headers that the answer depends on.
        methods: other methods reach the view always; bodies are part of the key.
        client_controls: which directives of its `Cache-Control` a request may use; otherwise
            CLIENT_CONTROLS.
        cache: further cache controls, such as {"stale-if-error": 3600}.
        expose: whether headers tell visitors the entry's key and what the answer saved.

    Raises:
        InvalidRequest: a wrong argument.
    """
    controls = {"ttl": ttl, "tags": tags, "namespace": namespace, "key": key, **(cache or {})}
    _check(controls, scope, client_controls)
    options = Options(
        using=using,
        cache=controls,
        scope=scope,
        vary_on=tuple(vary_on),
        methods=frozenset(method.upper() for method in methods),
        client_controls=client_controls,
        expose=expose,
    )

    def decorate(view: View) -> View:
        if not callable(view):
            raise InvalidRequest(f"@cached_completion decorates a view, not {view!r}.")
        if iscoroutinefunction(view):

            @wraps(view)
            async def aview(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                if request.method not in options.methods:
                    return await view(request, *args, **kwargs)
                return await aanswer(view, request, (args, kwargs), options)

            return aview

        @wraps(view)
        def sync_view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            # What `method_decorator` gives of an async class is a plain function all the same.
            ask = aanswer if _is_async_method(view) else answer
            if request.method not in options.methods:
                return view(request, *args, **kwargs)
            return ask(view, request, (args, kwargs), options)

        return sync_view

    return decorate if view is None else decorate(view)


def _check(controls: Mapping[str, Any], scope: Any, client_controls: Any) -> None:
    """Raise now what else the first request would meet."""
    parse({name: value for name, value in controls.items() if not callable(value)})
    if not (scope is UNSET or scope is None or callable(scope) or isinstance(scope, str)):
        raise InvalidRequest(
            'scope must be "user", "session", None, a function of the request or its dotted path, '
            f"not {scope!r}."
        )
    for directive in client_controls or ():
        if directive not in CLIENTS_MAY:
            raise InvalidRequest.unknown("directive", directive, CLIENTS_MAY)


def _is_async_method(view: View) -> bool:
    while isinstance(view, partial):
        view = view.func
    return bool(getattr(getattr(view, "__self__", None), "view_is_async", False))
