"""What the endpoint says when it cannot answer, in the words of the SDK that asks."""

from __future__ import annotations

from typing import Any, Final

from django.http import JsonResponse

from llmcache.exceptions import (
    AuthenticationFailed,
    BadRequest,
    PermissionRefused,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from llmcache.http import retry_after

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    415: "invalid_request_error",
    429: "rate_limit_error",
}
_NOT_CACHED: Final = "not_cached"


class Refused(Exception):
    """A request that gets an error.

    Attributes:
        status: of the answer.
        code: a word for programs, such as "model_not_allowed".
        headers: of the answer.
    """

    def __init__(
        self, status: int, message: str, code: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}


def of_upstream(error: UpstreamError) -> Refused:
    """What the caller is told of a provider's failure: nothing of its address or of our key."""
    if isinstance(error, (AuthenticationFailed, PermissionRefused)):
        return Refused(502, "The provider refused this site's credentials.", "upstream_refused")
    if isinstance(error, UpstreamTimeout):
        return Refused(504, "The provider did not answer in time.", "upstream_timeout")
    if isinstance(error, BadRequest) and error.status is None:  # it was never sent
        return Refused(400, error.message)
    if isinstance(error, UpstreamUnreachable) or error.status is None:
        return Refused(502, "The provider could not be reached.", "upstream_unreachable")
    status = error.status if 400 <= error.status < 600 else 502
    return Refused(status, error.message, "upstream_error", retry_after.headers_of(error))


def body_of(error: Refused, *, anthropic: bool) -> dict[str, Any]:
    """The error as the SDK in question reads it."""
    otherwise = "api_error" if error.status >= 500 else "invalid_request_error"
    kind = _NOT_CACHED if error.code == _NOT_CACHED else _TYPES.get(error.status, otherwise)
    if anthropic:
        return {"type": "error", "error": {"type": kind, "message": error.message}}
    code = error.code or None
    return {"error": {"message": error.message, "type": kind, "param": None, "code": code}}


def response_of(error: Refused, *, anthropic: bool) -> JsonResponse:
    """The error as an answer."""
    response = JsonResponse(body_of(error, anthropic=anthropic), status=error.status)
    for name, value in error.headers.items():
        response.headers[name] = value
    if error.code == _NOT_CACHED:
        response.headers["x-should-retry"] = "false"
    return response
