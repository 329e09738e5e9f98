"""OpenAI's own SDK, sync and async, with one argument that makes it cached."""

from __future__ import annotations

from typing import Any

import openai
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_GET

import llmcache.httpx2
from example_project.asking import LONGEST_QUESTION, no_question, question_in, request_for

_OPTIONS = settings.LLMCACHE_PROVIDERS["default"]["OPTIONS"]


def _arguments() -> dict[str, Any]:
    """Where the SDK finds the model; with OPENAI_API_KEY set it knows by itself."""
    if "base_url" not in _OPTIONS:
        return {}
    return {"base_url": _OPTIONS["base_url"], "api_key": "the local model needs none"}


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """The page. Without its script, its forms lead to the views themselves."""
    context = {"model": settings.CHAT_MODEL, "longest": LONGEST_QUESTION, "page_title": "SDKs"}
    return render(request, "doors/sdk.html", context)


def _told(raw: Any) -> HttpResponse:
    """The SDK's answer as JSON, with the headers in which the cache told of it."""
    told = {name: value for name, value in raw.headers.items() if "cache" in name or name == "age"}
    return JsonResponse({"answer": raw.parse().choices[0].message.content}, headers=told)


@require_GET
def ask_sync(request: HttpRequest) -> HttpResponse:
    """GET ?q=...: the answer, by `OpenAI`."""
    question = question_in(request.GET.get("q"))
    if not question:
        return no_question()
    try:
        with openai.OpenAI(http_client=llmcache.httpx2.client(), **_arguments()) as client:
            return _told(client.chat.completions.with_raw_response.create(**request_for(question)))
    except openai.OpenAIError as error:
        return JsonResponse({"error": str(error)}, status=502)


@require_GET
async def ask_async(request: HttpRequest) -> HttpResponse:
    """GET ?q=...: the answer, by `AsyncOpenAI`."""
    question = question_in(request.GET.get("q"))
    if not question:
        return no_question()
    http = llmcache.httpx2.async_client()
    try:
        async with openai.AsyncOpenAI(http_client=http, **_arguments()) as client:
            create = client.chat.completions.with_raw_response.create
            return _told(await create(**request_for(question)))
    except openai.OpenAIError as error:
        return JsonResponse({"error": str(error)}, status=502)


urlpatterns = [
    path("", page, name="door-sdk"),
    path("sync/", ask_sync, name="door-sdk-sync"),
    path("async/", ask_async, name="door-sdk-async"),
]
