"""Decorated views: one that answers with JSON and one that streams events, and a page that asks
each of them twice.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_GET, require_safe

from example_project.asking import LONGEST_QUESTION, no_question, question_in, request_for
from llmcache import UpstreamError, acompletion, completion
from llmcache.decorators import cached_completion
from llmcache.streaming import AsyncStream


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """The page. Without its script, its forms lead to the views themselves."""
    context = {"model": settings.CHAT_MODEL, "longest": LONGEST_QUESTION, "page_title": "Views"}
    return render(request, "doors/view.html", context)


# The model is asked without the cache: here it is the view's whole answer that is cached.


@require_safe
@cached_completion(ttl=3600, tags=["example"], client_controls=["no-cache"])
def as_json(request: HttpRequest) -> HttpResponse:
    """GET ?q=...: the model's answer as JSON, with its usage."""
    question = question_in(request.GET.get("q"))
    if not question:
        return no_question()
    try:
        answer = completion(**request_for(question), caching=False)
    except UpstreamError as error:
        return JsonResponse({"error": str(error)}, status=502)
    return JsonResponse(
        {
            "model": settings.CHAT_MODEL,
            "answer": answer.choices[0].message.content,
            "usage": answer.usage,
        }
    )


@require_safe
@cached_completion(ttl=3600, tags=["example"], client_controls=["no-cache"])
async def as_events(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """GET ?q=...: the model's answer as server-sent events, a piece of text each."""
    question = question_in(request.GET.get("q"))
    if not question:
        return no_question()
    try:
        stream = await acompletion(**request_for(question), stream=True, caching=False)
    except UpstreamError as error:
        return JsonResponse({"error": str(error)}, status=502)
    return StreamingHttpResponse(_events(stream), content_type="text/event-stream")


async def _events(stream: AsyncStream) -> AsyncIterator[bytes]:
    async with stream:
        async for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    yield b"data: %s\n\n" % json.dumps(choice.delta.content).encode()
    yield b"event: end\ndata:\n\n"


urlpatterns = [
    path("", page, name="door-view"),
    path("json/", as_json, name="door-view-json"),
    path("events/", as_events, name="door-view-events"),
]
