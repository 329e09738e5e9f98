"""The site under soak: one view for each way into the cache, and one for its staff."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

import llmcache
import tests.servers.celery_app  # noqa: F401 - as a project's __init__ does
from llmcache import maintenance
from llmcache.asgi import with_lifespan
from llmcache.decorators import cached_completion
from llmcache.exceptions import UpstreamError
from llmcache.http import cache_status

EVENTS = "text/event-stream"


def _arguments(request: HttpRequest) -> dict[str, Any]:
    """What a view is asked, as `llmcache.completion` takes it. Only the scope keeps tenants apart:
    the provider reads whose question it is from the metadata, which is no part of the key."""
    asked = orjson.loads(request.body)
    tenant = request.headers["X-Tenant"]
    asked["cache"] = {**asked.get("cache", {}), "scope": tenant}
    return {**asked, "metadata": {"tenant": tenant}}


def _failed(error: UpstreamError) -> HttpResponse:
    return JsonResponse({"failed": type(error).__name__, "why": str(error)}, status=502)


def _answered(answer: Any) -> HttpResponse:
    headers = cache_status.headers_for(answer.cache)
    return HttpResponse(answer.raw, content_type="application/json", headers=headers)


def _streamed(stream: Any, content: Any) -> HttpResponseBase:
    headers = cache_status.headers_for(stream.cache)
    return StreamingHttpResponse(content, content_type=EVENTS, headers=headers)


def _cut(error: UpstreamError) -> bytes:
    return b"event: cut\ndata: %s\n\n" % orjson.dumps(str(error))


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


@csrf_exempt
def ask(request: HttpRequest) -> HttpResponseBase:
    try:
        answer = llmcache.completion(**_arguments(request))
    except UpstreamError as error:
        return _failed(error)
    streams = isinstance(answer, llmcache.streaming.Stream)
    return _streamed(answer, _events(answer)) if streams else _answered(answer)


@csrf_exempt
async def aask(request: HttpRequest) -> HttpResponseBase:
    try:
        answer = await llmcache.acompletion(**_arguments(request))
    except UpstreamError as error:
        return _failed(error)
    streams = isinstance(answer, llmcache.streaming.AsyncStream)
    return _streamed(answer, _aevents(answer)) if streams else _answered(answer)


@csrf_exempt
def embed(request: HttpRequest) -> HttpResponse:
    return _answered(llmcache.embedding(**_arguments(request)))


@csrf_exempt
async def aembed(request: HttpRequest) -> HttpResponse:
    return _answered(await llmcache.aembedding(**_arguments(request)))


def _tenant(request: HttpRequest) -> str:
    return request.headers["X-Tenant"]


@cached_completion(scope=_tenant)
def page(request: HttpRequest) -> HttpResponse:
    """A page around an answer that is not cached by itself."""
    messages = [{"role": "user", "content": request.GET["text"]}]
    metadata = {"tenant": _tenant(request)}
    answer = llmcache.completion("steady", messages=messages, metadata=metadata, caching=False)
    return HttpResponse(answer.raw, content_type="application/json")


@csrf_exempt
def staff(request: HttpRequest) -> HttpResponse:
    """Evict what the body says, or clear the store."""
    asked = orjson.loads(request.body)
    try:
        if asked == "clear":
            done = maintenance.clear("default", by="staff")
        else:
            done = maintenance.evict(**asked, by="staff")
    except DatabaseError as error:
        return JsonResponse({"why": str(error)}, status=503)
    return JsonResponse({"removed": done.removed, "failed": done.failed, "why": done.problems})


urlpatterns = [
    path("ask", ask),
    path("aask", aask),
    path("embed", embed),
    path("aembed", aembed),
    path("page", page),
    path("staff", staff),
    path("llm/", include("llmcache.urls")),
]


# --- the servers' applications ---

_django = get_wsgi_application()


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Django, with a note of each request that outlives a killed process, and the process's id
    among the headers."""
    journal = Path(os.environ["SOAK_JOURNAL"], str(os.getpid()))
    with journal.open("a") as notes:
        notes.write(f"{environ.get('HTTP_X_ASKED', '')}\n")

    def started(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        return start_response(status, [*headers, ("X-Process", str(os.getpid()))], *more)

    return _django(environ, started)


asgi = with_lifespan(get_asgi_application())
