"""One request to a cached view, sync and async: from the store, or from the view and into the
store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

import orjson
from django.http import HttpRequest, JsonResponse
from django.http.request import RawPostDataException
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control, patch_vary_headers

from llmcache import aclient, caching, client, conf, engine, events, state
from llmcache.calls import Call
from llmcache.controls import parse
from llmcache.engine import Plan
from llmcache.exceptions import NotCached, UpstreamError
from llmcache.http import cache_control, cache_status
from llmcache.outcome import CacheInfo
from llmcache.response import Response
from llmcache.singleflight import Unshared
from llmcache.upstreams import Route
from llmcache.views import answers, requests, scopes
from llmcache.views.upstream import ViewUpstream, alines, lines

UNSET: Final = object()
_BY_REQUEST: Final = ("key", "namespace", "tags")
"""Controls that may be functions of the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a view is cached; `llmcache.decorators.cached_completion` tells what each means."""

    using: str | None
    cache: Mapping[str, Any]
    scope: Any
    vary_on: tuple[str, ...]
    methods: frozenset[str]
    client_controls: Collection[str] | None
    expose: bool


class _Visit:
    """One request, from its key to its answer; no I/O."""

    def __init__(
        self,
        view: Callable[..., Any],
        request: HttpRequest,
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        options: Options,
        *,
        is_async: bool,
    ) -> None:
        self.request = request
        self.options = options
        self._is_async = is_async
        self._view = view
        self._run = lambda: view(request, *arguments[0], **arguments[1])
        self.rule = scopes.rule_in_force(options.scope, UNSET)

    def plan(self, scope: str | None) -> tuple[Plan, ViewUpstream]:
        """The call that the request is, and its upstream."""
        options, request = self.options, self.request
        self.scope = scope
        keyed = frozenset(name.lower() for name in options.vary_on)
        if scope is not None and scope.startswith("authorization:"):
            keyed |= {"authorization"}
        upstream = ViewUpstream(self._run, request, scope, keyed, shared=self.rule is None)
        model = _name_of(self._view, request)
        call = Call(kind="view", is_async=self._is_async, model=model, params={})
        call.controls = parse(self._controls(scope))
        try:
            call.params = requests.params_of(request, options.vary_on)
        except RawPostDataException as error:
            events.warn_once("uncacheable", "A view is not cached: %s", error)
            call.caching = False
        store = state.current() if options.using is None else caching.for_alias(options.using)
        plan = engine.plan(call, store, Route(upstream, model, "view"))
        upstream.may_rescue = lambda: plan.fallback is not None
        return plan, upstream

    def _controls(self, scope: str | None) -> dict[str, Any]:
        options, request = self.options, self.request
        controls = dict(options.cache)
        for name in _BY_REQUEST:
            if callable(controls.get(name)):
                controls[name] = controls[name](request)
        whole = engine.scope()
        if scope is not None:
            # Both count: what the site says of all its calls, and what it says of this request.
            controls["scope"] = scope if whole is None else orjson.dumps([whole, scope]).decode()
        allowed = options.client_controls
        if allowed is None:
            allowed = conf.config().client_controls
        if allowed:
            headers = request.headers
            asked = cache_control.controls_of(
                headers.get("Cache-Control"), allowed, headers.get("Pragma")
            )
            controls.update(asked)
        if request.method == "HEAD":
            controls["no-store"] = True  # what a view says to HEAD is no answer to GET
        return controls

    def told(self, response: HttpResponseBase, info: CacheInfo) -> HttpResponseBase:
        """The answer with the headers that tell where it came from, and whose it is."""
        headers = cache_status.headers_for(info)
        if not self.options.expose:
            headers = {"Cache-Status": _without_details(headers["Cache-Status"])} | (
                {"Age": headers["Age"]} if "Age" in headers else {}
            )
        for name, value in headers.items():
            response.headers[name] = value
        self._mark_private(response)
        return response

    def _mark_private(self, response: HttpResponseBase) -> None:
        """See that no cache between here and the visitor shares what is one visitor's."""
        vary = list(self.options.vary_on)
        scope = self.scope
        if scope is not None:
            kind = scope.partition(":")[0]
            vary.append("Authorization" if kind == "authorization" else "Cookie")
            if not response.has_header("Cache-Control"):
                patch_cache_control(response, private=True)
        patch_vary_headers(response, vary)

    def answered(self, answer: Any, upstream: ViewUpstream) -> HttpResponseBase:
        """The response to give for the engine's answer."""
        assert isinstance(answer, Response)
        response = upstream.response
        if response is None or answer.cache.hit:
            response = answers.response_of(self.request, answer.raw)
        return self.told(response, answer.cache)

    def not_cached(self, error: NotCached) -> HttpResponseBase:
        """The answer to `only-if-cached` where nothing is."""
        body = {"error": {"message": str(error), "code": "not_cached"}}
        response = JsonResponse(body, status=504)
        for name, value in cache_status.not_cached(error.digest).items():
            response.headers[name] = value
        self._mark_private(response)
        return response

    def streamed(self, plan: Plan, upstream: ViewUpstream, started: float) -> HttpResponseBase:
        """The view's own stream, which is stored once it has been read to its clean end."""
        response: Any = upstream.response
        refused = upstream.refusal(response)
        if refused or not plan.write or plan.digest is None:
            info = plan.info(plan.outcome, f"not stored: {refused}" if refused else plan.reason)
            return self.told(response, info)
        head = answers.head_of(response, "")
        # The view's own iterator is taken out before ours takes its place.
        chunks: Any = response.streaming_content
        if response.is_async:
            live: Any = aclient.record(plan, alines(aiter(chunks)), head, started)
            response.streaming_content = _apieces(live)
        else:
            live = client.record(plan, lines(iter(chunks)), head, started)
            response.streaming_content = _pieces(live)
        return self.told(response, live.cache)


def _pieces(live: Any) -> Any:
    """The chunks of a stream that is being recorded, without the head."""
    events_ = live.raw_events()
    try:
        next(events_)
        for line in events_:
            yield answers.chunk_of(line)
    finally:
        live.close()


async def _apieces(live: Any) -> Any:
    events_ = live.raw_events()
    try:
        await anext(events_)
        async for line in events_:
            yield answers.chunk_of(line)
    finally:
        await live.aclose()


def answer(
    view: Callable[..., Any],
    request: HttpRequest,
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    options: Options,
) -> HttpResponseBase:
    """Answer a request by a sync view, or from the store.

    Args:
        arguments: what the view gets besides the request.
    """
    visit = _Visit(view, request, arguments, options, is_async=False)
    started = perf_counter()
    plan, upstream = visit.plan(scopes.of(request, visit.rule))
    try:
        return visit.answered(client.carry_out(plan), upstream)
    except NotCached as error:
        return visit.not_cached(error)
    except Unshared:
        return visit.streamed(plan, upstream, started)
    except UpstreamError:
        if upstream.response is None:
            raise
        return upstream.response


async def aanswer(
    view: Callable[..., Any],
    request: HttpRequest,
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    options: Options,
) -> HttpResponseBase:
    """As `answer`, for an async view."""
    visit = _Visit(view, request, arguments, options, is_async=True)
    started = perf_counter()
    plan, upstream = visit.plan(await scopes.aof(request, visit.rule))
    upstream.here()
    try:
        return visit.answered(await aclient.carry_out(plan), upstream)
    except NotCached as error:
        return visit.not_cached(error)
    except Unshared:
        return visit.streamed(plan, upstream, started)
    except UpstreamError:
        if upstream.response is None:
            raise
        return upstream.response


def _name_of(view: Callable[..., Any], request: HttpRequest) -> str:
    """The view's dotted name; of a class-based one, the name of its class."""
    match = request.resolver_match
    found: Any = getattr(match.func, "view_class", None) if match is not None else None
    found = found or getattr(view, "view_class", None) or view
    name = getattr(found, "__qualname__", type(found).__qualname__)
    return f"{getattr(found, '__module__', '')}.{name}"


def _without_details(status: str) -> str:
    said = (part.strip() for part in status.split(";"))
    return "; ".join(part for part in said if not part.startswith(("key=", "detail=")))
