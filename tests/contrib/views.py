"""Views that call a model in each way that a site does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

import llmcache
from llmcache.exceptions import UpstreamError

PAGE = "<html><body><p>{}</p></body></html>"


def question(text: str, model: str = "gpt-4o-mini") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]}


def page(*parts: object) -> HttpResponse:
    return HttpResponse(PAGE.format(" ".join(map(str, parts))))


def ask(request: HttpRequest, text: str) -> HttpResponse:
    """The question as often as `times` says, one after the other."""
    times = int(request.GET.get("times", "1"))
    model = request.GET.get("model", "gpt-4o-mini")
    answers = [llmcache.completion(**question(text, model)) for _ in range(times)]
    return page(*(answer.cache.outcome for answer in answers))


async def aask(request: HttpRequest, text: str) -> HttpResponse:
    times = int(request.GET.get("times", "1"))
    answers = [await llmcache.acompletion(**question(text)) for _ in range(times)]
    return page(*(answer.cache.outcome for answer in answers))


async def tasks(request: HttpRequest, text: str) -> HttpResponse:
    """In tasks of its own, and in a thread that asyncio made."""
    await asyncio.gather(*(llmcache.acompletion(**question(f"{text} {n}")) for n in range(3)))
    await asyncio.to_thread(llmcache.completion, **question(f"{text} in a thread"))
    return page("done")


def threads(request: HttpRequest, text: str) -> HttpResponse:
    """In threads that are given the request's context."""
    with ThreadPoolExecutor(2) as pool:
        futures = [
            pool.submit(copy_context().run, lambda n=n: llmcache.completion(**question(f"{n}")))
            for n in range(3)
        ]
    return page(*(future.result().cache.outcome for future in futures))


def fail(request: HttpRequest, text: str) -> HttpResponse:
    try:
        llmcache.completion(**question(text))
    except UpstreamError:
        return page("failed")
    return page("answered")


def read_stream(request: HttpRequest, text: str) -> HttpResponse:
    """A streamed answer, read to its end for the page."""
    with llmcache.completion(**question(text), stream=True) as stream:
        return page(len(list(stream)))


def pass_stream(request: HttpRequest, text: str) -> StreamingHttpResponse:
    """A streamed answer, passed on as it comes."""

    def body() -> Iterator[bytes]:
        yield from llmcache.completion(**question(text), stream=True).raw_events()

    return StreamingHttpResponse(body(), content_type="text/plain")


def odd(request: HttpRequest, text: str) -> HttpResponse:
    """A model whose name cannot be encoded."""
    with suppress(UpstreamError):
        llmcache.completion(**question(text, "\ud800" + "x" * 1000))
    return page("asked")


def embed(request: HttpRequest, text: str) -> HttpResponse:
    llmcache.embedding("text-embedding-3-small", text.split("-"))
    return page("embedded")
