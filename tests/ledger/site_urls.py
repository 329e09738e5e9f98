"""The views of that site: each asks one question, with an answer at once or an error."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

import llmcache
from llmcache.asgi import with_lifespan


def question(text: str) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


def ask(request: HttpRequest, text: str) -> HttpResponse:
    outcome = llmcache.completion(**question(text)).cache.outcome
    return HttpResponse(f"{os.getpid()} {outcome}")


async def aask(request: HttpRequest, text: str) -> HttpResponse:
    outcome = (await llmcache.acompletion(**question(text))).cache.outcome
    return HttpResponse(f"{os.getpid()} {outcome}")


def fail(request: HttpRequest, text: str) -> HttpResponse:
    ask(request, text)
    raise RuntimeError("after the call")


def failing_caller() -> str:
    raise RuntimeError("nobody knows who calls")


urlpatterns = [
    path("ask/<str:text>", ask),
    path("aask/<str:text>", aask),
    path("fail/<str:text>", fail),
]
wsgi = get_wsgi_application()
asgi = with_lifespan(get_asgi_application())
