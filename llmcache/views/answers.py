"""A view's answer as the bytes of an entry, and back.

An entry's first line is a JSON object, the head: status, headers, and what the figures need. What
follows is the body as it is or, of a stream, a line for each chunk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import Any, Final

import orjson
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from llmcache.own_code import VERSION, part
from llmcache.streams import usage_of
from llmcache.views.scopes import Scope

_LARGEST_PARSED: Final = 1_000_000
"""Bytes of a JSON answer that are searched for its usage."""
_OURS: Final = ("age", "cache-status")
_HARMLESS: Final = frozenset({"accept-encoding"})


def refusal(response: HttpResponseBase, scope: Scope, vary_on: Collection[str]) -> str:
    """Why an answer may not be stored, as far as the response itself says so; "" if it may."""
    if response.status_code != 200:
        return f"its status is {response.status_code}"
    if response.cookies or response.has_header("Set-Cookie"):
        return "it sets a cookie"
    said = _words(response.get("Cache-Control", ""))
    for word in ("no-store", "no-cache", *(() if scope.value else ("private",))):
        if word in said:
            return f"it says Cache-Control: {word}"
    known = {name.lower() for name in vary_on} | _HARMLESS
    if response.has_header("Content-Encoding") and "Accept-Encoding" not in vary_on:
        return (
            "it is compressed, which not every visitor can read: put gzip_page above the "
            "decorator, or Accept-Encoding in vary_on"
        )
    if scope.value is not None:
        known |= {name.lower() for name in scope.vary}
    for name in sorted(_words(response.get("Vary", "")) - known):
        return f"it varies on {name}, which is not in its key: name it in vary_on"
    return ""


def _words(header: str) -> set[str]:
    return {word.partition("=")[0].strip().lower() for word in header.split(",")} - {""}


def whole(response: HttpResponse) -> bytes:
    """The payload of an answer that has its body."""
    return b"\n".join((_head(response, _reported(response)), response.content))


def head_of_stream(response: HttpResponseBase) -> bytes:
    """The first line of the payload of an answer whose chunks are to come."""
    return _head(response, {"stream": True})


def _head(response: HttpResponseBase, more: dict[str, Any]) -> bytes:
    headers = [
        (name, value)
        for name, value in response.items()
        if name.lower() not in _OURS and not name.lower().startswith("x-llmcache-")
    ]
    head = {"version": VERSION, "status": response.status_code, "headers": headers, **more}
    return orjson.dumps(head)


def _reported(response: HttpResponse) -> dict[str, Any]:
    """The usage and the model that a JSON answer names, as a provider's does."""
    content = response.content
    if "json" not in response.get("Content-Type", "") or len(content) > _LARGEST_PARSED:
        return {}
    if b'"usage"' not in content:
        return {}
    try:
        parsed = orjson.loads(content)
        usage_of("view", parsed)
    except (ValueError, TypeError, AttributeError):
        return {}
    model = parsed.get("model")
    return {"usage": parsed["usage"]} | ({"model": model} if isinstance(model, str) else {})


def opened(
    payload: bytes, request: HttpRequest, told: Mapping[str, str]
) -> HttpResponse | StreamingHttpResponse:
    """The answer that a payload holds; a stream is async where the request came by ASGI.

    Args:
        told: headers that say where it came from; no entry has any of their names.

    Raises:
        ValueError, LookupError, TypeError: it is not of the format that this version writes.
    """
    start, _, rest = payload.partition(b"\n")
    head = orjson.loads(start)
    if head["version"] != VERSION:
        raise ValueError(f"an answer of format {head['version']}")
    headers = {**dict(head["headers"]), **told}
    if request.method == "HEAD":
        response = HttpResponse(status=head["status"], headers=headers)
        if not head.get("stream") and "Content-Length" not in response:
            response["Content-Length"] = str(len(rest))
        return response
    if not head.get("stream"):
        return HttpResponse(rest, status=head["status"], headers=headers)
    lines = rest.split(b"\n") if rest else []
    content = _achunks(lines) if isinstance(request, ASGIRequest) else _chunks(lines)
    return StreamingHttpResponse(content, status=head["status"], headers=headers)


def _chunks(lines: list[bytes]) -> Iterator[bytes]:
    for written in lines:
        yield part(written)


async def _achunks(lines: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in _chunks(lines):
        yield chunk
