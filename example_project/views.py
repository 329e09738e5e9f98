"""The chat page, its stream, and one endpoint each of the sync, async and streaming kind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from example_project.forms import SUGGESTIONS, QuestionForm
from llmcache import LLMCacheError, acompletion, completion
from llmcache.outcome import CacheInfo


def facts(cache: CacheInfo, finish_reason: str | None) -> dict[str, Any]:
    """What the page shows of an answer's way; seconds, tokens, and money or None."""
    return {
        "outcome": cache.outcome,
        "hit": cache.hit,
        "reason": cache.reason,
        "key": cache.key,
        "alias": cache.alias,
        "age": cache.age,
        "latency": cache.latency,
        "upstream_latency": cache.upstream_latency,
        "tokens": cache.usage.total,
        "saved_tokens": cache.saved_tokens,
        "saved_cost": cache.saved_cost,
        "cut": finish_reason == "length",
    }


@require_http_methods(["GET", "POST"])
def chat(request: HttpRequest) -> HttpResponse:
    """The page. A POST, from browsers without script, shows the answer to one question."""
    context: dict[str, Any] = {"model": settings.EXAMPLE_MODEL, "suggestions": SUGGESTIONS}
    form = QuestionForm(_posted(request) if request.method == "POST" else None)
    status = 200
    if form.is_bound and form.is_valid():
        context["question"] = form.cleaned_data["question"]
        try:
            response = completion(**form.call_arguments())
        except LLMCacheError as error:
            context["error"], status = str(error), 502
        else:
            choice = response.choices[0]
            context["answer"] = choice.message.content
            context["facts"] = facts(response.cache, choice.finish_reason)
    elif form.is_bound:
        status = 400
    return render(request, "example/chat.html", {**context, "form": form}, status=status)


def _posted(request: HttpRequest) -> dict[str, Any]:
    """The form's data; a pressed suggestion stands in for a typed question."""
    data = request.POST.dict()
    if "suggestion" in data:
        data["question"] = data["suggestion"]
    return data


@require_POST
async def chat_stream(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """The answer as lines of JSON: {"text"} as it comes, then {"facts"}, or {"error"}."""
    form = QuestionForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"error": form.errors.get_json_data()}, status=400)
    lines = _lines(form.call_arguments())
    response = StreamingHttpResponse(lines, content_type="application/x-ndjson")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


async def _lines(arguments: dict[str, Any]) -> AsyncIterator[str]:
    finish_reason = None
    try:
        async with await acompletion(**arguments, stream=True) as stream:
            async for chunk in stream:
                for choice in chunk.choices:
                    finish_reason = choice.finish_reason or finish_reason
                    if choice.delta.content:
                        yield _line(text=choice.delta.content)
            yield _line(facts=facts(stream.cache, finish_reason))
    except LLMCacheError as error:
        yield _line(error=str(error))


def _line(**values: Any) -> str:
    return json.dumps(values) + "\n"


@require_GET
def answer(request: HttpRequest) -> JsonResponse:
    """`?question=...` answered by a sync view."""
    form = QuestionForm(request.GET)
    if not form.is_valid():
        return JsonResponse({"error": form.errors.get_json_data()}, status=400)
    try:
        return _json(completion(**form.call_arguments()))
    except LLMCacheError as error:
        return JsonResponse({"error": str(error)}, status=502)


@require_GET
async def answer_async(request: HttpRequest) -> JsonResponse:
    """`?question=...` answered by an async view."""
    form = QuestionForm(request.GET)
    if not form.is_valid():
        return JsonResponse({"error": form.errors.get_json_data()}, status=400)
    try:
        return _json(await acompletion(**form.call_arguments()))
    except LLMCacheError as error:
        return JsonResponse({"error": str(error)}, status=502)


def _json(response: Any) -> JsonResponse:
    choice = response.choices[0]
    return JsonResponse(
        {"answer": choice.message.content, "cache": facts(response.cache, choice.finish_reason)}
    )


@require_GET
async def answer_stream(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """`?question=...` answered as server-sent events, OpenAI's chunks as they are."""
    form = QuestionForm(request.GET)
    if not form.is_valid():
        return JsonResponse({"error": form.errors.get_json_data()}, status=400)
    return StreamingHttpResponse(
        _events(form.call_arguments()), content_type="text/event-stream"
    )


async def _events(arguments: dict[str, Any]) -> AsyncIterator[str]:
    try:
        async with await acompletion(**arguments, stream=True) as stream:
            async for chunk in stream:
                yield f"data: {chunk.model_dump_json()}\n\n"
        yield "data: [DONE]\n\n"
    except LLMCacheError as error:
        yield f"event: error\ndata: {json.dumps({'message': str(error)})}\n\n"
