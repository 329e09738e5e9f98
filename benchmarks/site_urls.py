"""The site that `benchmarks.throughput` loads: one answer, bare and cached in each way."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from django.views.decorators.cache import cache_page
from django.views.decorators.csrf import csrf_exempt

from benchmarks.questions import ANSWER
from llmcache.decorators import cached_completion

_HOUR = 3600


@csrf_exempt
def answer(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"answer": ANSWER})


@csrf_exempt
async def aanswer(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"answer": ANSWER})


cached = cached_completion(scope=None, ttl=_HOUR)
urlpatterns = [
    path("bare", answer),
    path("abare", aanswer),
    path("page", cache_page(_HOUR)(answer)),
    path("cached", cached(answer)),
    path("acached", cached(aanswer)),
    path("llm/", include("llmcache.urls")),
]
