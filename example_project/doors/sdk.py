"""The page "SDKs": a question asked twice through the official OpenAI SDK, which knows nothing of
the cache that its HTTP client has."""

from __future__ import annotations

import os
from functools import cache
from time import perf_counter
from typing import Any

import openai
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_http_methods

import llmcache.httpx2
from example_project.asking import LONGEST_QUESTION, request_for

SHOWN = ("X-LLMCache-Outcome", "Cache-Status", "Age", "X-LLMCache-Saved-Tokens")


@cache
def client() -> openai.OpenAI:
    """The SDK's client: all that is ours about it is the argument `http_client`."""
    options = settings.LLMCACHE_PROVIDERS["default"]["OPTIONS"]
    return openai.OpenAI(
        base_url=options.get("base_url"),
        api_key=os.environ.get("OPENAI_API_KEY") or "none",
        http_client=llmcache.httpx2.client(),
    )


@require_http_methods(["GET", "POST"])
def sdks(request: HttpRequest) -> HttpResponse:
    """The page; posted, it asks."""
    question = request.POST.get("question", "").strip()[:LONGEST_QUESTION]
    context: dict[str, Any] = {
        "model": settings.CHAT_MODEL,
        "longest": LONGEST_QUESTION,
        "question": question,
    }
    if question:
        try:
            context["calls"] = [_ask(question), _ask(question)]
        except openai.OpenAIError as error:
            context["error"] = str(error)
    return render(request, "sdks.html", context)


def _ask(question: str) -> dict[str, Any]:
    started = perf_counter()
    response = client().chat.completions.with_raw_response.create(**request_for(question))
    answer = response.parse().choices[0].message.content
    return {
        "answer": answer,
        "milliseconds": round((perf_counter() - started) * 1000, 1),
        "outcome": response.headers.get("X-LLMCache-Outcome", ""),
        "headers": [(name, response.headers[name]) for name in SHOWN if name in response.headers],
    }


urlpatterns = [path("sdks/", sdks, name="sdks")]
