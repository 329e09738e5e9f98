"""`path("llm/", include("llmcache.urls"))`: an API like the providers' own, over the cache."""

from __future__ import annotations

from django.http import HttpRequest
from django.urls import path, re_path

from llmcache.endpoint.errors import Refused
from llmcache.endpoint.maintaining import (
    DeleteDoor,
    FlushDoor,
    ModelsDoor,
    PingDoor,
    StatsDoor,
)
from llmcache.endpoint.serving import CallDoor, Door

app_name = "llmcache"


class _Unknown(Door):
    """Any other path: an error that an SDK can read."""

    def __init__(self) -> None:
        super().__init__("", anthropic=None)

    def _check_method(self, request: HttpRequest) -> None:
        raise Refused(404, "There is no such path here.", "unknown_url")


urlpatterns = [
    path("v1/chat/completions", CallDoor("completion").view(), name="chat-completions"),
    path("v1/completions", CallDoor("text_completion").view(), name="completions"),
    path("v1/responses", CallDoor("responses").view(), name="responses"),
    path("v1/messages", CallDoor("messages").view(), name="messages"),
    path("v1/embeddings", CallDoor("embedding").view(), name="embeddings"),
    path("v1/audio/transcriptions", CallDoor("transcription").view(), name="transcriptions"),
    path("v1/models", ModelsDoor().view(), name="models"),
    path("v1/models/<path:model>", ModelsDoor().view(), name="model"),
    path("cache/ping", PingDoor().view(), name="ping"),
    path("cache/delete", DeleteDoor().view(), name="delete"),
    path("cache/flush", FlushDoor().view(), name="flush"),
    path("cache/stats", StatsDoor().view(), name="stats"),
    re_path(r"^(?:v1|cache)/.*$", _Unknown().view(), name="unknown"),
]
