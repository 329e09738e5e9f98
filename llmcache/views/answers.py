"""A view's answer as the bytes of an entry, and those as an answer again.

An entry begins with a line of JSON, the head: `status`, `headers` and, where the answer tells them,
`usage` and `model`. Then follows the body as it is or, where the head says `stream`, a line of JSON for each chunk.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Final

import orjson
from django.core.handlers.asgi import ASGIRequest
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

_OF_ONE_ANSWER: Final = frozenset(
    {"age", "cache-status", "connection", "content-length", "date", "transfer-encoding"}
)
"""Headers that belong to one transmission, or that the cache itself says."""
_NEVER: Final = frozenset({"no-cache", "no-store", "must-revalidate", "max-age=0"})


def head_of(response: HttpResponseBase, refused: str) -> bytes:
    """The head of an answer's entry.

    Args:
        refused: why the answer may not be stored; "" if it may.
    """
    head: dict[str, Any] = {
        "status": response.status_code,
        "headers": [
            [name, value]
            for name, value in response.headers.items()
            if name.lower() not in _OF_ONE_ANSWER
        ],
    }
    if response.streaming:
        head["stream"] = True
    if refused:
        head["refused"] = refused
    elif isinstance(response, HttpResponse):
        head |= _told_of_tokens(response)
    return orjson.dumps(head)


def _told_of_tokens(response: HttpResponse) -> dict[str, Any]:
    """The `usage` and the `model` that an answer in JSON reports, as the providers' answers do."""
    if "json" not in response.get("Content-Type", "") or b'"usage"' not in response.content:
        return {}
    try:
        body = orjson.loads(response.content)
    except ValueError:
        return {}
    if not isinstance(body, dict) or not isinstance(body.get("usage"), dict):
        return {}
    model = body.get("model")
    return {"usage": body["usage"], **({"model": model} if isinstance(model, str) else {})}


def refusal(
    request: HttpRequest,
    response: HttpResponseBase,
    scope: str | None,
    keyed: Iterable[str],
    *,
    shared: bool,
) -> str:
    """Why an answer may not be stored; "" when it may.

    Args:
        scope: whose answer it is; None for everybody's.
        keyed: the headers that are in the key, in lower case.
        shared: whether the site has said that everybody may have it.
    """
    if response.status_code != 200:
        return f"the view answered with status {response.status_code}"
    if isinstance(response, FileResponse):
        return "the view sent a file"
    if response.cookies:
        return "the view set a cookie"
    said = _words(response, "Cache-Control")
    if said & _NEVER:
        return f"the view said {', '.join(sorted(said & _NEVER))}"
    if scope is None and "private" in said:
        return "the view said private, and no scope says whose answer it is"
    vary = _words(response, "Vary")
    # The body is stored as the view made it: middleware compresses it anew for each client.
    other = vary - {"accept-encoding", *keyed} - ({"cookie"} if scope is not None else set())
    if other:
        return f"the view varies on {', '.join(sorted(other))}: name it in vary_on"
    return _private_traces(request, is_private=scope is None and not shared)


def _words(response: HttpResponseBase, header: str) -> set[str]:
    parts = (part.strip().lower() for part in response.get(header, "").split(","))
    return {part for part in parts if part}


def _private_traces(request: HttpRequest, *, is_private: bool) -> str:
    """What the view did that only this visitor's answer can hold.

    Args:
        is_private: whether nothing says whose an answer is that knows its visitor.
    """
    session = getattr(request, "session", None)
    if session is not None and session.modified:
        return "the view changed the session"
    if is_private and session is not None and session.accessed and session.session_key:
        return "the view read the session, and no scope says whose answer it is: give it one"
    if request.META.get("CSRF_COOKIE_NEEDS_UPDATE"):
        return "the view used the visitor's CSRF token"
    messages = getattr(request, "_messages", None)
    if messages is not None and (messages.added_new or messages.used):
        return "the view used the visitor's messages"
    return ""


def line_of(chunk: bytes) -> bytes:
    """A chunk of a stream as a line of an entry."""
    try:
        return orjson.dumps(chunk.decode())
    except UnicodeDecodeError:
        return orjson.dumps({"base64": base64.b64encode(chunk).decode()})


def chunk_of(line: bytes) -> bytes:
    """The chunk that a line of an entry holds."""
    value = orjson.loads(line)
    return value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])


def response_of(request: HttpRequest, payload: bytes) -> HttpResponseBase:
    """An entry as an answer to this request."""
    first, _, rest = payload.partition(b"\n")
    head = orjson.loads(first)
    response: HttpResponseBase
    if head.get("stream"):
        lines = rest.split(b"\n") if rest else []
        content: Any = _each(lines)
        if isinstance(request, ASGIRequest):
            content = _aeach(lines)
        response = StreamingHttpResponse(content, status=head["status"])
    else:
        response = HttpResponse(rest, status=head["status"])
    del response.headers["Content-Type"]
    for name, value in head["headers"]:
        response.headers[name] = value
    return response


def _each(lines: list[bytes]) -> Iterator[bytes]:
    for line in lines:
        yield chunk_of(line)


async def _aeach(lines: list[bytes]) -> AsyncIterator[bytes]:
    for line in lines:
        yield chunk_of(line)
