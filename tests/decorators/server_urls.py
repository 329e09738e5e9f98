"""The views of that site. Each stream waits after its first chunk until somebody says `go`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

import llmcache
from llmcache.decorators import cached_completion

going = threading.Event()
counts = {"calls": 0, "closed": 0}
QUESTION: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def go(request: HttpRequest) -> HttpResponse:
    going.set()
    return JsonResponse(counts)


@cached_completion
def ask(request: HttpRequest) -> HttpResponse:
    counts["calls"] += 1
    return JsonResponse(llmcache.completion(**QUESTION).model_dump())


@cached_completion
async def aask(request: HttpRequest) -> HttpResponse:
    counts["calls"] += 1
    return JsonResponse((await llmcache.acompletion(**QUESTION)).model_dump())


@cached_completion
def stream(request: HttpRequest) -> StreamingHttpResponse:
    counts["calls"] += 1
    return StreamingHttpResponse(_parts(), content_type="text/event-stream")


def _parts() -> Iterator[bytes]:
    try:
        yield b"data: first\n\n"
        going.wait(30)
        yield from (b"data: more\n\n" for _ in range(20000))
    finally:
        counts["closed"] += 1


@cached_completion
async def astream(request: HttpRequest) -> StreamingHttpResponse:
    counts["calls"] += 1
    return StreamingHttpResponse(_aparts(), content_type="text/event-stream")


async def _aparts() -> AsyncIterator[bytes]:
    try:
        yield b"data: first\n\n"
        while not going.is_set():
            await asyncio.sleep(0.01)
        for _ in range(20000):
            yield b"data: more\n\n"
    finally:
        counts["closed"] += 1


urlpatterns = [
    path("go", go),
    path("ask", ask),
    path("aask", aask),
    path("stream", stream),
    path("astream", astream),
]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
