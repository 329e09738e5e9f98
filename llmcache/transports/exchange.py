"""One exchange with a provider as the SDK would have seen it, kept so that it can be handed on.

Errors travel through the engine as `UpstreamError`s and become HTTP again at its other end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from llmcache.exceptions import StreamBroken, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from llmcache.upstreams import retry
from llmcache.upstreams.failures import from_status, read_body

Headers = Sequence[tuple[bytes, bytes]]
_OF_THE_CONNECTION: Final = frozenset(
    {b"connection", b"content-encoding", b"content-length", b"keep-alive", b"transfer-encoding"}
)
"""Headers of one transmission, which no longer hold once the body has been read and decoded."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A provider's answer.

    Attributes:
        headers: as they came, but for those of the transmission.
        content: the decoded body; b"" of one that is a stream.
    """

    status: int
    headers: Headers
    content: bytes = b""


def answered(response: Any, content: bytes = b"") -> Answered:
    """What there is to keep of a response of the HTTP library."""
    headers = [
        (name, value)
        for name, value in response.headers.raw
        if name.lower() not in _OF_THE_CONNECTION
    ]
    return Answered(response.status_code, headers, content)


def refused(response: Any, content: bytes, provider: str) -> UpstreamError:
    """The error that a response other than 2xx is; `http_answer_of` finds the response in it."""
    message, body = read_body(content)
    error = from_status(
        response.status_code,
        message,
        request_id=response.headers.get("x-request-id", ""),
        provider=provider,
        body=body,
        retry_after=retry.asked_wait(response.headers),
    )
    error.http_answer = answered(response, content)  # type: ignore[attr-defined]
    return error


def unreached(error: Exception, *, timed_out: bool, begun: bool, provider: str) -> UpstreamError:
    """The error that a failure of the connection is; `http_error_of` finds it again.

    Args:
        begun: whether the answer had begun to arrive.
    """
    kind: type[UpstreamError] = UpstreamTimeout if timed_out else UpstreamUnreachable
    if begun and not timed_out:
        kind = StreamBroken
    found = kind(str(error) or type(error).__name__, provider=provider)
    found.http_error = error  # type: ignore[attr-defined]
    return found


def http_answer_of(error: UpstreamError) -> Answered | None:
    """The response that an error came with; made up from what is known of it where it was another
    process that got it; None where there was none."""
    found: Answered | None = getattr(error, "http_answer", None)
    if found is not None or error.status is None:
        return found
    body = error.body if isinstance(error.body, dict) else {"error": {"message": error.message}}
    headers = [(b"content-type", b"application/json")]
    if error.request_id:
        headers.append((b"x-request-id", error.request_id.encode("ascii", "replace")))
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        headers.append((b"retry-after", b"%d" % max(0, round(wait))))
    return Answered(error.status, headers, orjson.dumps(body))


def http_error_of(error: UpstreamError, library: Any, request: Any) -> Exception:
    """The HTTP library's own error for a connection that failed, as this caller would have met it.

    Args:
        library: httpx or httpx2.
        request: the caller's request, which the error names.
    """
    original = getattr(error, "http_error", None)
    if isinstance(original, library.TransportError):
        kind = type(original)
    elif isinstance(error, UpstreamTimeout):
        kind = library.ReadTimeout
    elif isinstance(error, StreamBroken):
        kind = library.RemoteProtocolError
    else:
        kind = library.ConnectError
    made: Exception = kind(error.message, request=request)
    return made
