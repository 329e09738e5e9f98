"""What goes back to the SDK: the provider's own reply as it was, or one made from an answer."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from llmcache.exceptions import NotCached, StreamBroken, UpstreamError, UpstreamTimeout
from llmcache.http import cache_status, event_stream, retry_after
from llmcache.outcome import COALESCED, HIT, STALE, CacheInfo

Headers = list[tuple[bytes, bytes]]
# They describe the body as it travelled; ours is decoded, and of another length.
_FRAMING: Final = frozenset(
    {b"connection", b"content-encoding", b"content-length", b"keep-alive", b"transfer-encoding"}
)
_SHARED: Final = frozenset({HIT, STALE, COALESCED})
_SAFE_EXTENSIONS: Final = ("http_version", "reason_phrase")
_NOT_CACHED: Final = 504
_FAILED: Final = 502


@dataclass(frozen=True, slots=True)
class Reply:
    """A provider's whole reply.

    Attributes:
        body: as it travelled, its content encoding not undone.
    """

    status: int
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    extensions: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def response(self, library: Any) -> Any:
        """The reply as a response of the HTTP library."""
        known = {
            name: self.extensions[name] for name in _SAFE_EXTENSIONS if name in self.extensions
        }
        return library.Response(
            self.status,
            headers=self.headers,
            stream=library.ByteStream(self.body),
            extensions=known,
        )


def headers_of(
    info: CacheInfo, content_type: str, provided: Headers | None, *, expose: bool
) -> Headers:
    """The headers of an answer.

    Args:
        provided: the provider's, if this very request was answered by it.
        expose: whether to tell what the cache did.
    """
    headers: Headers = []
    if provided is not None and info.outcome not in _SHARED:
        headers = [(name, value) for name, value in provided if name.lower() not in _FRAMING]
    if not any(name.lower() == b"content-type" for name, _ in headers):
        headers.append((b"content-type", content_type.encode()))
    if expose:
        told = cache_status.headers_for(info).items()
        headers += [(name.encode(), value.encode()) for name, value in told]
    return headers


def not_cached(library: Any, error: NotCached) -> Any:
    """The 504 that RFC 9111 section 5.2.1.7 has for `only-if-cached`."""
    headers = {**cache_status.not_cached(error.digest), "X-Should-Retry": "false"}
    return library.Response(
        _NOT_CACHED, headers=headers, json=_error(str(error), "not_cached", None)
    )


def failed(library: Any, error: UpstreamError, *, is_own: bool) -> Any:
    """The response that tells of a failure, as it came from the provider.

    Args:
        is_own: whether the request itself failed, and not another's that it waited for.

    Raises:
        library.RequestError: there was no response.
    """
    original = error.original
    if isinstance(original, Reply):
        return original.response(library)
    if isinstance(original, Exception) and is_own:
        raise original
    if original is not None or error.status is None:
        raise _unreachable(library, error) from None
    status = error.status if error.status >= 400 else _FAILED
    headers = {"X-Request-Id": error.request_id} if error.request_id else {}
    headers |= retry_after.headers_of(error)
    body = error.body if isinstance(error.body, dict) else _error(error.message, None, None)
    return library.Response(status, headers=headers, json=body)


def _unreachable(library: Any, error: UpstreamError) -> Exception:
    """The library's exception for a provider that did not answer, equal to the original one."""
    original = error.original
    if isinstance(original, Exception) and isinstance(original, library.RequestError):
        return copy.copy(original)
    kind = "ReadTimeout" if isinstance(error, UpstreamTimeout) else "ConnectError"
    made: Exception = getattr(library, type(original).__name__, getattr(library, kind))(
        str(original or error)
    )
    return made


def _error(message: str, kind: str | None, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def end_of_broken(library: Any, kind: str, error: UpstreamError) -> bytes:
    """What follows the last event of a stream that broke off: the provider's own error event, or
    nothing, if it just ended.

    Raises:
        library.RequestError: the connection broke, or what came was no stream.
    """
    if error.original is not None or error.status is not None:
        raise _unreachable(library, error) from error
    if isinstance(error.body, dict):
        return event_stream.frame(kind, orjson.dumps(error.body))
    if isinstance(error, StreamBroken):
        return b""
    raise _unreachable(library, error) from error
