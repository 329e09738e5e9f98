"""What the endpoint says of itself: `openapi.json`, for tools that make clients or tests of it.

Requests are the providers' own, so only what the endpoint itself needs is described; all other
fields are passed on or refused, as the provider of the model has them.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

import llmcache
from llmcache.endpoint.maintaining import MOST_NAMED
from llmcache.endpoint.serving import Door
from llmcache.virtual_keys import Holder

_TEXT: Final = {"type": "string"}
_WHOLE: Final = {"type": "integer"}
_REFUSALS: Final = {
    400: "The request is wrong.",
    401: "There is no such key.",
    403: "The key may not do that.",
    404: "The key has no such model.",
    411: "The body has no length.",
    413: "The body is too large.",
    415: "The body has another format, or is compressed.",
    429: "A limit of the key is reached.",
    502: "The provider failed.",
    503: "The keys cannot be checked just now.",
    504: "The provider did not answer in time, or nothing is stored and that was all you wanted.",
}
_CACHE: Final = {
    "type": "object",
    "description": "Cache controls, as far as the key may use them.",
    "additionalProperties": True,
}


class OpenAPIDoor(Door):
    """GET openapi.json: this description, for who has a key."""

    def __init__(self) -> None:
        super().__init__("GET")

    def answer(self, request: HttpRequest, holder: Holder, **captured: str) -> HttpResponseBase:
        own = request.path.removesuffix("openapi.json").rstrip("/")
        return JsonResponse({**document(), "servers": [{"url": own or "/"}]})


@cache
def document() -> dict[str, Any]:
    """The description, without where it is."""
    message = _object({"role": _TEXT}, "role")
    messages = {"type": "array", "items": message, "minItems": 1}
    prompt = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
    paths = {
        "/v1/chat/completions": _call("A chat completion.", {"messages": messages}),
        "/v1/completions": _call("A completion of a text.", {"prompt": prompt}),
        "/v1/responses": _call("A response.", {"input": prompt}),
        "/v1/messages": _call("A message of Anthropic's API.", {"messages": messages}, "anthropic"),
        "/v1/embeddings": _call("Embeddings.", {"input": prompt}, stream=False),
        "/v1/audio/transcriptions": _transcription(),
        "/v1/models": _get("The models that the key may use.", {"data": {"type": "array"}}),
        "/v1/models/{model}": _get("One model.", {"id": _TEXT}, _parameter("model", "path", _TEXT)),
        "/cache/ping": _get("Whether the key's cache can be read.", {"status": _TEXT}),
        "/cache/stats": _get(
            "The key's own figures.",
            {"hours": _WHOLE, "requests": _WHOLE, "hits": _WHOLE},
            _parameter("hours", "query", {"type": "integer", "minimum": 1}),
        ),
        "/cache/delete": _evicting(
            "Evict entries of the key's scope.",
            {
                name: {"type": "array", "items": _TEXT, "maxItems": MOST_NAMED}
                for name in ("keys", "tags")
            },
        ),
        "/cache/flush": _evicting("Evict all entries of the key's scope.", {}),
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "django-llmcache", "version": llmcache.__version__},
        "paths": paths,
        "security": [{"bearer": []}, {"anthropic": []}],
        "components": {
            "schemas": {
                "Error": _object({"error": _object({"message": _TEXT, "type": _TEXT}, "message")})
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "anthropic": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required or properties)}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _operation(
    summary: str, answer: dict[str, Any], parameters: tuple[dict[str, Any], ...] = ()
) -> dict[str, Any]:
    error = _json({"$ref": "#/components/schemas/Error"})
    refusals = {
        str(status): {"description": why, "content": error} for status, why in _REFUSALS.items()
    }
    good = {"200": {"description": "The answer.", "content": answer}}
    operation: dict[str, Any] = {"summary": summary, "responses": {**good, **refusals}}
    if parameters:
        operation["parameters"] = list(parameters)
    return operation


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _get(summary: str, answer: dict[str, Any], *parameters: dict[str, Any]) -> dict[str, Any]:
    return {"get": _operation(summary, _json(_object(answer)), parameters)}


def _call(
    summary: str, asked: dict[str, Any], protocol: str = "", *, stream: bool = True
) -> dict[str, Any]:
    fields = {"model": _TEXT, **asked}
    required = (*fields, *(["max_tokens"] if protocol else []))
    fields["cache"] = _CACHE
    answer = _json({"type": "object"})
    if protocol:
        fields["max_tokens"] = {"type": "integer", "minimum": 1}
    if stream:
        fields["stream"] = {"type": "boolean"}
        answer["text/event-stream"] = {}
    operation = _operation(summary, answer)
    body = {"required": True, "content": _json(_object(fields, *required))}
    return {"post": {**operation, "requestBody": body}}


def _transcription() -> dict[str, Any]:
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    form = _object({"file": file, "model": _TEXT}, "file", "model")
    operation = _operation(
        "The text of a recording.",
        {**_json(_object({"text": _TEXT})), "text/plain": {"schema": _TEXT}},
    )
    body = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    return {"post": {**operation, "requestBody": body}}


def _evicting(summary: str, asked: dict[str, Any]) -> dict[str, Any]:
    operation = _operation(summary, _json(_object({"evicted": _WHOLE, "failed": _WHOLE})))
    body = {"content": _json({"type": "object", "properties": asked})}
    return {"post": {**operation, "requestBody": body}}
