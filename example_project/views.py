"""The chat page, and the same question asked from a sync, an async and a streaming view."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from example_project.asking import LONGEST_QUESTION, no_question, question_in, request_for, told
from llmcache import UpstreamError, acompletion, completion
from llmcache.streaming import AsyncStream

SUGGESTIONS = (
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "What is a database index?",
)
REMEMBERED = 6


@require_http_methods(["GET", "POST"])
def chat(request: HttpRequest) -> HttpResponse:
    """The page. Its script streams the answers; without script the form is posted here."""
    said = request.session.get("said", [])
    if request.method == "POST":
        question = question_in(request.POST.get("question"))
        if question:
            request.session["said"] = [*said, _ask(question)][-REMEMBERED:]
        return redirect("chat")
    context = {
        "said": said,
        "suggestions": SUGGESTIONS,
        "model": settings.CHAT_MODEL,
        "longest": LONGEST_QUESTION,
    }
    return render(request, "chat.html", context)


@require_POST
def forget(request: HttpRequest) -> HttpResponse:
    """Empty the page; what is cached stays."""
    request.session.pop("said", None)
    return redirect("chat")


def _ask(question: str) -> dict[str, Any]:
    started = perf_counter()
    try:
        response = completion(**request_for(question))
    except UpstreamError as error:
        return {"question": question, "error": str(error)}
    return {
        "question": question,
        "answer": response.choices[0].message.content,
        "cache": told(response.cache, perf_counter() - started),
    }


@require_GET
def ask_sync(request: HttpRequest) -> HttpResponse:
    """GET ?q=...: the answer as JSON, from a sync view."""
    question = question_in(request.GET.get("q"))
    if not question:
        return no_question()
    answer = _ask(question)
    return JsonResponse(answer, status=502 if "error" in answer else 200)


@require_GET
async def ask_async(request: HttpRequest) -> HttpResponse:
    """GET ?q=...: the answer as JSON, from an async view."""
    question = question_in(request.GET.get("q"))
    if not question:
        return no_question()
    started = perf_counter()
    try:
        response = await acompletion(**request_for(question))
    except UpstreamError as error:
        return JsonResponse({"question": question, "error": str(error)}, status=502)
    answer = response.choices[0].message.content
    cache = told(response.cache, perf_counter() - started)
    return JsonResponse({"question": question, "answer": answer, "cache": cache})


@require_POST
async def ask_streaming(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """POST question=...: a line of JSON per piece of the answer, and a last one about the cache."""
    question = question_in(request.POST.get("question"))
    if not question:
        return no_question()
    started = perf_counter()
    try:
        stream = await acompletion(**request_for(question), stream=True)
    except UpstreamError as error:
        return JsonResponse({"error": str(error)}, status=502)
    return StreamingHttpResponse(_lines(stream, started), content_type="application/x-ndjson")


async def _lines(stream: AsyncStream, started: float) -> AsyncIterator[bytes]:
    try:
        async for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    yield _line({"text": choice.delta.content})
    except UpstreamError as error:
        yield _line({"error": str(error)})
    else:
        yield _line({"cache": told(stream.cache, perf_counter() - started)})
    finally:
        await stream.close()


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"
