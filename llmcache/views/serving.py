"""One request to a cached view, from its key to the headers of its answer, sync and async."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.request import RawPostDataException
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from llmcache import aclient, arecording, client, conf, events, plans, recording
from llmcache.calls import Call
from llmcache.controls import Controls, parse
from llmcache.exceptions import NotCached
from llmcache.http import cache_status
from llmcache.outcome import HIT, SERVED, CacheInfo
from llmcache.own_code import (
    called,
    changed,
    is_running,
    joined_scope,
    line,
    planned,
    store_of,
)
from llmcache.response import Response
from llmcache.singleflight import Unshared
from llmcache.views import answers
from llmcache.views.request_key import params_of
from llmcache.views.scopes import Rule, Scope
from llmcache.views.upstream import ViewCall, ViewFailed
from llmcache.views.visitor_controls import asked_for
from llmcache.views.watching import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the decorator was told; `cached_completion` says what each means."""

    using: str | None
    controls: Controls
    tags: Any
    scope: Rule
    namespace: Any
    key: Any
    vary_on: tuple[str, ...]
    methods: Collection[str]
    client_controls: Collection[str] | None
    expose: bool


class Visit:
    """One request to one cached view."""

    def __init__(
        self,
        options: Options,
        view: Any,
        name: str,
        request: HttpRequest,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        scope: Scope,
    ) -> None:
        self.options, self.request, self.scope = options, request, scope
        self.asked = ViewCall(view, name, request, args, kwargs, scope, options.vary_on)
        self.started = perf_counter()

    def plan(self, *, is_async: bool, anew: bool = False) -> plans.Plan:
        """The request's plan; one that bypasses the cache if the body cannot be read.

        Args:
            anew: whether what is stored is of no use, and is to be replaced.
        """
        options, asked = self.options, self.asked
        given = (self.request, *asked.args)
        key = called(options.key, "key", *given, **asked.kwargs)
        caching: bool | None = None
        try:
            params = params_of(self.request, options.vary_on, key, asked.language, asked.time_zone)
        except (RequestDataTooBig, RawPostDataException) as error:
            events.warn_once("uncacheable", "%s bypasses the cache: %s", asked.view_name, error)
            params, caching = {}, False
        call = Call(
            kind="view",
            is_async=is_async,
            model=asked.view_name,
            params=params,
            controls=self._controls(given, asked.kwargs, "files" in params, anew),
            caching=caching,
        )
        return planned(call, store_of(options.using), asked)

    def _controls(
        self, given: tuple[Any, ...], kwargs: dict[str, Any], has_files: bool, anew: bool
    ) -> Controls:
        options, base = self.options, self.options.controls
        changes: dict[str, Any] = {
            "scope": joined_scope(self.scope.value, base.scope or plans.configured_scope())
        }
        if callable(options.tags):
            tags = parse({"tags": called(options.tags, "tags", *given, **kwargs)}).tags
            changes["tags"] = tuple(sorted({*base.tags, *tags}))
        if callable(options.namespace):
            changes["namespace"] = called(options.namespace, "namespace", *given, **kwargs)
        if self.request.method == "HEAD":
            changes["no_store"] = True
        if has_files:
            changes["stale_while_revalidate"] = 0.0  # they are closed when the visitor is served
        allowed = options.client_controls
        if allowed is None:
            allowed = conf.config().client_controls
        if allowed:
            changes |= asked_for(self.request, allowed, base)
        if anew:
            changes["no_cache"] = True
        return changed(base, changes)

    # --- answers ---

    def from_cache(self, answer: Response) -> Any:
        """The response that a payload amounts to; None, counted and logged, if it is damaged."""
        told = cache_status.headers_for(answer.cache, expose=self.options.expose)
        try:
            response = answers.opened(answer.raw, self.request, told)
        except (ValueError, LookupError, TypeError) as error:
            events.warn_once("unreadable", "%s: an entry cannot be used: %r", self.name, error)
            return None
        return self._kept_apart(response)

    @property
    def name(self) -> str:
        return self.asked.view_name

    def not_cached(self, error: NotCached) -> Any:
        """What a visitor gets who asked for a cached answer only (RFC 9111 section 5.2.1.7)."""
        headers = cache_status.not_cached(error.digest)
        if not self.options.expose:
            headers = {"Cache-Status": f"{cache_status.CACHE}; fwd=miss"}
        response = HttpResponse(
            "No answer to this request is cached.",
            status=504,
            content_type="text/plain; charset=utf-8",
            headers=headers,
        )
        return self._kept_apart(response)

    def headed(self, response: Any, info: CacheInfo) -> Any:
        """The response with the headers that say where it came from and whose it is."""
        if not isinstance(response, HttpResponseBase):
            return response
        for name, value in cache_status.headers_for(info, expose=self.options.expose).items():
            if name == "Cache-Status" and response.has_header(name):
                value = f"{response[name]}, {value}"
            response[name] = value
        return self._kept_apart(response)

    def _kept_apart(self, response: Any) -> Any:
        scope = self.scope
        names = (*self.options.vary_on, *scope.vary)
        if names and (response.has_header("Vary") or "*" in names):
            patch_vary_headers(response, names)
        elif names:
            response.headers["Vary"] = ", ".join(names)
        if scope.private and not response.has_header("Cache-Control"):
            response.headers["Cache-Control"] = "private"
        return response

    def passed_on(self, plan: plans.Plan, reason: str) -> Any:
        """The view's own response, which is not stored and not counted."""
        return self.headed(self.asked.response, plan.info(plan.outcome, reason))

    def on_its_own(self, plan: plans.Plan, response: Any) -> Any:
        """What the view answers after the request that was to answer this one too has failed."""
        self.asked.response = response
        return self.passed_on(plan, "not stored: another visitor's request failed")

    def may_record(self, plan: plans.Plan) -> bool:
        """Whether the view's stream is to be recorded. If it may not be, `plan.reason` says why."""
        response = self.asked.response
        if not isinstance(response, StreamingHttpResponse):
            return False
        if isinstance(response, FileResponse):
            plan.reason = "not stored: a file"
            return False
        refusal = answers.refusal(response, self.scope, self.options.vary_on)
        reason = refusal or self.asked.private
        if reason:
            self.asked.tell(reason)
            plan.reason = f"not stored: {reason}"
        return not reason

    def watch(self) -> Watch:
        """For the time that the stream runs."""
        return Watch(self.request, strict=self.asked.strict)

    def ended(self, watch: Watch) -> None:
        """Have the stream not stored if it has turned out to be private."""
        reason = watch.found()
        if reason:
            self.asked.tell(reason)
            self.asked.refuse(reason)


# --- sync ---


def serve(visit: Visit, *, anew: bool = False) -> Any:
    """Answer a request to a sync view, past what is stored if it is to be made anew."""
    asked = visit.asked
    plan = visit.plan(is_async=False, anew=anew)
    if is_running(plan):
        return asked.view(asked.request, *asked.args, **asked.kwargs)
    try:
        answer = client.carry_out(plan)
    except NotCached as error:
        return visit.not_cached(error)
    except Unshared:
        otherwise = _streamed
    except ViewFailed:
        otherwise = _own_failure
    else:
        return _answered(visit, answer) or serve(visit, anew=True)
    return otherwise(visit, plan)  # out here an error of the view keeps its context


def _answered(visit: Visit, answer: Any) -> Any:
    """The view's own response, or that of an entry; None if the entry is damaged."""
    if answer.cache.outcome == HIT:
        visit.asked.plan = None  # each knows the other: the collector of garbage would have to come
    if answer.cache.outcome in SERVED:
        return visit.from_cache(answer)
    return visit.headed(visit.asked.response, answer.cache)


def _own_failure(visit: Visit, plan: plans.Plan) -> Any:
    """What this visitor gets where an old answer was hoped for in vain."""
    asked = visit.asked
    if asked.error is not None:
        raise asked.error
    if asked.response is None:  # it was somebody else's failure
        return visit.on_its_own(plan, asked.view(asked.request, *asked.args, **asked.kwargs))
    return visit.passed_on(plan, "not stored: the view failed")


def _streamed(visit: Visit, plan: plans.Plan) -> Any:
    """The view's stream, which is stored at its end if that is clean."""
    response = visit.asked.response
    if not visit.may_record(plan):
        return visit.passed_on(plan, plan.reason)
    head = answers.head_of_stream(response)
    content, origin = response.streaming_content, getattr(response, "_iterator", None)
    if response.is_async:
        live = arecording.record(plan, _alines(visit, content, origin), head, visit.started)
        response.streaming_content = _apassed_on(visit, live)
        return visit.headed(response, live.cache)
    recorded = recording.record(plan, _lines(visit, content, origin), head, visit.started)
    response.streaming_content = _passed_on(visit, recorded)
    return visit.headed(response, recorded.cache)


def _lines(visit: Visit, content: Any, origin: Any) -> Iterator[bytes]:
    """The stream's chunks as they are stored; as they came they are in `asked.chunk`."""
    watch = visit.watch()
    try:
        for chunk in content:
            visit.asked.chunk = chunk
            yield line(chunk)
        visit.ended(watch)
    finally:
        watch.release()
        close = getattr(origin, "close", None)
        if close is not None:
            close()


def _passed_on(visit: Visit, stream: Any) -> Iterator[bytes]:
    events_ = stream.raw_events()
    try:
        next(events_)
        for _ in events_:
            yield visit.asked.chunk
    finally:
        stream.close()


# --- async ---


async def aserve(visit: Visit, *, anew: bool = False) -> Any:
    """As `serve`, for an async view."""
    asked = visit.asked
    asked.note_task()
    plan = visit.plan(is_async=True, anew=anew)
    if is_running(plan):
        return await asked.arun()
    try:
        answer = await aclient.carry_out(plan)
    except NotCached as error:
        return visit.not_cached(error)
    except Unshared:
        otherwise = _streamed
    except ViewFailed:
        otherwise = _own_failure
    else:
        return _answered(visit, answer) or await aserve(visit, anew=True)
    if otherwise is _own_failure and asked.error is None and asked.response is None:
        return visit.on_its_own(plan, await asked.arun())  # it was somebody else's failure
    return otherwise(visit, plan)


async def _alines(visit: Visit, content: Any, origin: Any) -> AsyncIterator[bytes]:
    watch = visit.watch()
    try:
        async for chunk in content:
            visit.asked.chunk = chunk
            yield line(chunk)
        visit.ended(watch)
    finally:
        watch.release()
        for each in (content, origin):
            close = getattr(each, "aclose", None)
            if close is not None:
                await close()


async def _apassed_on(visit: Visit, stream: Any) -> AsyncIterator[bytes]:
    events_ = stream.raw_events()
    try:
        await anext(events_)
        async for _ in events_:
            yield visit.asked.chunk
    finally:
        await stream.aclose()
