"""The endpoint under /llm/, asked by the browser with a key that this page makes."""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from example_project.asking import LONGEST_QUESTION
from llmcache.models import VirtualKey


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """The page; its script makes the key and the calls."""
    context = {
        "model": settings.CHAT_MODEL,
        "longest": LONGEST_QUESTION,
        "page_title": "Endpoint",
        "base_url": request.build_absolute_uri("/llm/v1"),
    }
    return render(request, "doors/endpoint.html", context)


@require_POST
def make_key(request: HttpRequest) -> HttpResponse:
    """POST: a key for an hour, as JSON. A site that is not an example gives keys to people."""
    key = VirtualKey(
        name=f"example {secrets.token_hex(4)}",
        expires_at=timezone.now() + timedelta(hours=1),
        requests_per_minute=30,
        created_by="the example",
    )
    token = key.renew()
    key.full_clean()
    key.save()
    return JsonResponse({"token": token}, headers={"Cache-Control": "no-store"})


urlpatterns = [
    path("", page, name="door-endpoint"),
    path("key/", make_key, name="door-endpoint-key"),
]
