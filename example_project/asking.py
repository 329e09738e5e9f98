"""How the example asks its model, and how it tells what the cache did."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import JsonResponse

from llmcache.outcome import CacheInfo

SYSTEM = "You are a helpful assistant. Answer in one or two short sentences."
LONGEST_QUESTION = 500


def question_in(words: str | None) -> str:
    """What a visitor asks, not longer than it may be; "" for nothing."""
    return (words or "").strip()[:LONGEST_QUESTION]


def no_question() -> JsonResponse:
    """What a visitor gets who asks nothing."""
    return JsonResponse({"error": "Ask something: the question is empty."}, status=400)


def request_for(question: str) -> dict[str, Any]:
    """The arguments of a completion that answers a question."""
    return {
        "model": settings.CHAT_MODEL,
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": question},
        ],
        "temperature": 0,
        "max_tokens": 300,
    }


def told(cache: CacheInfo, seconds: float) -> dict[str, Any]:
    """What the pages show of an answer's way through the cache."""
    cost = cache.saved_cost
    return {
        "outcome": cache.outcome,
        "hit": cache.hit,
        "reason": cache.reason,
        "age": round(cache.age, 1),
        "milliseconds": round(seconds * 1000, 1),
        "saved_tokens": cache.saved_tokens,
        "saved_milliseconds": round(cache.upstream_latency * 1000) if cache.hit else 0,
        "saved_cost": None if cost is None else f"${cost:.6f}",
    }
