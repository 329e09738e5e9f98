"""`path("llm/", include("llmcache.urls"))`: an API like the providers' own, over the cache."""

from __future__ import annotations

import asyncio

from django.http import HttpRequest
from django.urls import URLPattern
from django.urls.resolvers import RegexPattern, ResolverMatch, RoutePattern

from llmcache.endpoint.errors import Refused
from llmcache.endpoint.maintaining import (
    DeleteDoor,
    FlushDoor,
    ModelsDoor,
    PingDoor,
    StatsDoor,
)
from llmcache.endpoint.openapi import OpenAPIDoor
from llmcache.endpoint.serving import CallDoor, Door

app_name = "llmcache"


class _Unknown(Door):
    """Any other path: an error that an SDK can read."""

    def __init__(self) -> None:
        super().__init__("", anthropic=None)

    def _check_method(self, request: HttpRequest) -> None:
        raise Refused(404, "There is no such path here.", "unknown_url")


class _DoorPattern(URLPattern):
    """A path with two views, for threads and for event loops.

    An async view costs Django under WSGI an event loop and a change of threads for each request,
    ten times what a hit takes otherwise.
    """

    def __init__(self, pattern: RoutePattern | RegexPattern, door: Door, name: str) -> None:
        super().__init__(pattern, door.view(), name=name)
        self._aview = door.aview()

    def resolve(self, path: str) -> ResolverMatch | None:
        match = super().resolve(path)
        if match is not None and _on_a_loop():
            match.func = self._aview
        return match


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _path(route: str, door: Door, name: str) -> _DoorPattern:
    return _DoorPattern(RoutePattern(route, name=name, is_endpoint=True), door, name)


urlpatterns = [
    _path("v1/chat/completions", CallDoor("completion"), "chat-completions"),
    _path("v1/completions", CallDoor("text_completion"), "completions"),
    _path("v1/responses", CallDoor("responses"), "responses"),
    _path("v1/messages", CallDoor("messages"), "messages"),
    _path("v1/embeddings", CallDoor("embedding"), "embeddings"),
    _path("v1/audio/transcriptions", CallDoor("transcription"), "transcriptions"),
    _path("v1/models", ModelsDoor(), "models"),
    _path("v1/models/<path:model>", ModelsDoor(), "model"),
    _path("cache/ping", PingDoor(), "ping"),
    _path("cache/delete", DeleteDoor(), "delete"),
    _path("cache/flush", FlushDoor(), "flush"),
    _path("cache/stats", StatsDoor(), "stats"),
    _path("openapi.json", OpenAPIDoor(), "openapi"),
    # The start of any path, with line breaks too; not "(?s:.*)", which `reverse` cannot read.
    _DoorPattern(RegexPattern("^", name="unknown", is_endpoint=True), _Unknown(), "unknown"),
]
