"""From a provider's refusal to an exception: status, request id and message, never a credential."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import httpx
import orjson

from llmcache.exceptions import (
    AuthenticationFailed,
    BadRequest,
    NotFound,
    PermissionRefused,
    RateLimited,
    ServerFailed,
    UpstreamError,
)

_CLASSES: Final[dict[int, type[UpstreamError]]] = {
    401: AuthenticationFailed,
    403: PermissionRefused,
    404: NotFound,
}
_LONGEST_MESSAGE: Final = 500


def from_status(
    status: int,
    message: str,
    *,
    request_id: str,
    provider: str,
    body: object = None,
    retry_after: float | None = None,
) -> UpstreamError:
    """The exception for an HTTP status.

    Args:
        retry_after: seconds that the provider asked to wait, if it did.
    """
    known: dict[str, Any] = {
        "status": status,
        "request_id": request_id,
        "body": body,
        "provider": provider,
    }
    if status == 429:
        return RateLimited(message, retry_after=retry_after, **known)
    if status in _CLASSES:
        return _CLASSES[status](message, **known)
    if status >= 500:
        return ServerFailed(message, **known)
    return BadRequest(message, **known)


def note_address(failure: UpstreamError, error: httpx.HTTPError) -> None:
    """Let a traceback end with whom nobody could reach. In a note: messages go on to strangers."""
    with suppress(RuntimeError):  # httpx has no request where it got to none
        url = error.request.url
        address = f"{url.scheme}://{url.netloc.decode()}"
        place = f"LLMCACHE_PROVIDERS[{failure.provider!r}]['OPTIONS']['base_url']"
        failure.add_note(f"Asked at {address}, which {place} or the call itself names.")


def note_missing_key(failure: UpstreamError, sent: httpx.Headers, variable: str | None) -> None:
    """Let the traceback of a 401 end with what to set, where no key was sent at all.

    Args:
        variable: the environment variable that should have it, if one is named.
    """
    if failure.status == 401 and not ("authorization" in sent or "x-api-key" in sent):
        fix = f"set {variable} in the environment" if variable else "name one in 'api_key_env'"
        failure.add_note(f"No API key was sent: {fix}.")


def read_body(body: bytes) -> tuple[str, object]:
    """The provider's own message in an error's body, and that body, parsed where it is JSON."""
    try:
        parsed = orjson.loads(body)
    except ValueError:
        text = body.decode("utf-8", "replace").strip()
        return text[:_LONGEST_MESSAGE] or "no message", text
    return message_in(parsed) or body.decode("utf-8", "replace")[:_LONGEST_MESSAGE], parsed


def message_in(parsed: object) -> str:
    """The message in a parsed error, whichever of the usual places it is in; "" if in none."""
    if isinstance(parsed, str):
        return parsed
    if isinstance(parsed, list) and parsed:
        return message_in(parsed[0])
    if isinstance(parsed, Mapping):
        for name in ("error", "message", "detail", "msg"):
            if parsed.get(name):
                return message_in(parsed[name])
    return ""
