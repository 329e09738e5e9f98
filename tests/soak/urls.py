"""The site under soak: a view for each way into the cache, one for its staff and one that shows
what its process holds."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import include, path

import llmcache
from llmcache import afetching, claims, events, fetching, jobs, maintenance, relays
from llmcache.decorators import cached_completion
from llmcache.endpoint import holders
from llmcache.exceptions import UpstreamError
from llmcache.http import cache_status
from llmcache.recorder import recorder


def _arguments(request: HttpRequest) -> dict[str, Any]:
    """What a view is asked, as the functions of llmcache take it. Only the scope keeps tenants
    apart: the provider reads whose question it is from the metadata, which is no part of the key.
    """
    asked = orjson.loads(request.body)
    return {**asked, "cache": {**asked["cache"], "scope": asked["metadata"]["tenant"]}}


def _failed(error: UpstreamError) -> HttpResponse:
    return JsonResponse({"failed": type(error).__name__, "why": str(error)}, status=502)


def _answered(answer: Any) -> HttpResponse:
    headers = cache_status.headers_for(answer.cache)
    return HttpResponse(answer.raw, content_type="application/json", headers=headers)


def _streamed(stream: Any, content: Any) -> HttpResponseBase:
    headers = cache_status.headers_for(stream.cache)
    return StreamingHttpResponse(content, content_type="text/event-stream", headers=headers)


def _cut(error: UpstreamError) -> bytes:
    said = {"error": {"type": type(error).__name__, "message": str(error)}}
    return b"data: %s\n\n" % orjson.dumps(said)


def _events(stream: Any) -> Iterator[bytes]:
    with stream:
        try:
            for raw in stream.raw_events():
                yield b"data: %s\n\n" % raw
        except UpstreamError as error:
            yield _cut(error)
        else:
            yield b"data: [DONE]\n\n"


async def _aevents(stream: Any) -> AsyncIterator[bytes]:
    async with stream:
        try:
            async for raw in stream.raw_events():
                yield b"data: %s\n\n" % raw
        except UpstreamError as error:
            yield _cut(error)
        else:
            yield b"data: [DONE]\n\n"


def ask(request: HttpRequest) -> HttpResponseBase:
    try:
        answer = llmcache.completion(**_arguments(request))
    except UpstreamError as error:
        return _failed(error)
    streams = isinstance(answer, llmcache.streaming.Stream)
    return _streamed(answer, _events(answer)) if streams else _answered(answer)


async def aask(request: HttpRequest) -> HttpResponseBase:
    try:
        answer = await llmcache.acompletion(**_arguments(request))
    except UpstreamError as error:
        return _failed(error)
    streams = isinstance(answer, llmcache.streaming.AsyncStream)
    return _streamed(answer, _aevents(answer)) if streams else _answered(answer)


def embed(request: HttpRequest) -> HttpResponse:
    return _answered(llmcache.embedding(**_arguments(request)))


async def aembed(request: HttpRequest) -> HttpResponse:
    return _answered(await llmcache.aembedding(**_arguments(request)))


@cached_completion(scope=lambda request: request.headers["X-Tenant"])
def page(request: HttpRequest) -> HttpResponse:
    """A page around an answer that is not cached by itself."""
    messages = [{"role": "user", "content": request.GET["text"]}]
    metadata = {"tenant": request.headers["X-Tenant"], "name": request.headers["X-Name"]}
    answer = llmcache.completion("chat", messages=messages, metadata=metadata, caching=False)
    return HttpResponse(answer.raw, content_type="application/json")


def staff(request: HttpRequest) -> HttpResponse:
    """Evict what the body says, clear the store, or have what has expired swept."""
    asked = orjson.loads(request.body)
    try:
        if asked == "sweep":
            return JsonResponse({"queued": jobs.start("sweep_expired")})
        if asked == "clear":
            done = maintenance.clear("default", by="staff")
        else:
            done = maintenance.evict(**asked, by="staff")
    except DatabaseError as error:
        return JsonResponse({"database": str(error)}, status=503)
    return JsonResponse({"removed": done.removed, "failed": done.failed, "why": done.problems})


def inside(request: HttpRequest) -> HttpResponse:
    """What this process holds, all of which should be nothing once all is quiet. A virtual key
    that comes with the request is known to it from now on."""
    if "Authorization" in request.headers:
        holders.find(request)
    loops = afetching.flights._loops.values()
    holds = {
        "records": recorder.waiting,
        "flights": len(fetching.flights._flights) + sum(map(len, loops)),
        "claims": len(claims._keeper._claims),
        "relays": len(relays.watch._relays),
    }
    return JsonResponse({"process": os.getpid(), "holds": holds, "counts": events.counts()})


urlpatterns = [
    path("ask", ask),
    path("aask", aask),
    path("embed", embed),
    path("aembed", aembed),
    path("page", page),
    path("staff", staff),
    path("inside", inside),
    path("llm/", include("llmcache.urls")),
]
