"""Every error that llmcache raises on purpose.

Nothing here is raised because the cache itself failed: a failing store is a miss, counted and
logged. Errors of a model provider live here too, because all four doors and every upstream share
them.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from django.utils.translation import gettext


class LLMCacheError(Exception):
    """Base class of all errors of this package."""


class InvalidRequest(LLMCacheError, ValueError):
    """The caller's words cannot be understood: a wrong control, cache type, alias or argument."""

    @classmethod
    def unknown(cls, what: str, given: object, known: Iterable[str]) -> InvalidRequest:
        """An error for a name that does not exist, listing the names that do.

        Args:
            what: what kind of name it is, in the singular ("cache control").
            given: the wrong name.
            known: the right names.
        """
        names = sorted(known)
        close = get_close_matches(str(given), names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return cls(f"Unknown {what} {given!r}.{hint} Known: {', '.join(names)}.")


class NotCached(LLMCacheError, LookupError):
    """`only-if-cached` was asked for and no entry could answer (HTTP's 504, RFC 9111 section
    5.2.1.7).
    """

    def __init__(self, digest: str | None, reason: str) -> None:
        self.digest = digest
        self.reason = reason
        super().__init__(f"only-if-cached was set and the cache has no answer ({reason}).")


class UnsupportedOperation(LLMCacheError):
    """A store cannot do what was asked of it (listing a memcached, say)."""


class ShownToStaff(LLMCacheError):
    """An error that the admin tells people: English in logs, on a page in the reader's language.

    Attributes:
        text: a message of the catalogues, with placeholders such as `%(alias)s` for the `values`.
    """

    def __init__(self, text: str, **values: object) -> None:
        super().__init__(text % values if values else text)
        self.text = text
        self.values = values

    @property
    def translated(self) -> str:
        """The message in the language that is active."""
        text = gettext(self.text)
        return text % self.values if self.values else text


class EntryGone(ShownToStaff):
    """The index knows an entry that its store does not have, or that cannot be opened."""


class NotRepeatable(ShownToStaff):
    """What is known of a call is not enough to make it again; the text says what is missing."""


class Resting(LLMCacheError):
    """A part of a store failed so often that it is left alone for a while. That was logged when it
    began; the other parts work.
    """


class UpstreamError(LLMCacheError):
    """The model provider refused, failed or could not be reached.

    Attributes:
        status: HTTP status, or None when no response arrived.
        request_id: the provider's id of the request, or "" if it sent none.
        message: the provider's own message, without headers or credentials.
        body: the provider's error body, parsed where it was JSON, else text.
        provider: name of the provider in LLMCACHE_PROVIDERS.
        original: what the provider sent, or the exception of the HTTP library, where a door hands
            that on to its caller as it was.
    """

    original: object = None

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        request_id: str = "",
        body: object = None,
        provider: str = "",
    ) -> None:
        self.message = message
        self.status = status
        self.request_id = request_id
        self.body = body
        self.provider = provider
        parts = [f"{provider}: " if provider else "", message]
        if status is not None:
            parts.append(f" (status {status}")
            parts.append(f", request {request_id})" if request_id else ")")
        super().__init__("".join(parts))


class BadRequest(UpstreamError):
    """400, 413, 422 and any 4xx without a class of its own: the request itself is wrong."""


class AuthenticationFailed(UpstreamError):
    """401: no API key, or a wrong one."""


class PermissionRefused(UpstreamError):
    """403: the account may not do this."""


class NotFound(UpstreamError):
    """404: no such model or path at this base_url."""


class RateLimited(UpstreamError):
    """429: too many requests, or the account's quota is spent.

    Attributes:
        retry_after: seconds the provider asked to wait, or None.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, **kwargs: object) -> None:
        super().__init__(message, **kwargs)  # type: ignore[arg-type]
        self.retry_after = retry_after


class ServerFailed(UpstreamError):
    """5xx: the provider failed."""


class UpstreamUnreachable(UpstreamError):
    """No response at all: name not found, connection refused or broken."""


class UpstreamTimeout(UpstreamUnreachable):
    """No response within the timeout."""


class StreamBroken(UpstreamError):
    """A stream ended before its provider said that it was complete."""
