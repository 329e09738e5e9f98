"""What every model provider must offer: a call to bytes, a stream to events, sync and async.

An upstream moves bytes. It does not know that a cache exists. Bodies are kept as the provider sent
them, so that a hit returns exactly what the first call returned.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from django.core.checks import CheckMessage

from llmcache.conf import ProviderSettings

KINDS: Final = (
    "completion",
    "text_completion",
    "responses",
    "messages",
    "embedding",
    "transcription",
)
"""The kinds of call that a provider can answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRequest:
    """One request to a provider.

    Attributes:
        kind: one of KINDS, or a kind of the door's own.
        model: the provider's own name of the model, without our provider prefix.
        params: the body's parameters but `model` and `stream`; None values are already dropped.
        unkeyed: parameters that are sent but never part of a key (`metadata`, `stream_options`).
        api_key, base_url, timeout, max_retries: override the provider's settings for this call;
            timeout in seconds.
        extra_headers, extra_query: merged over the provider's own.
    """

    kind: str
    model: str
    params: Mapping[str, Any]
    unkeyed: Mapping[str, Any] = field(default_factory=dict)
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    timeout: float | None = None
    max_retries: int | None = None
    extra_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra_query: Mapping[str, Any] = field(default_factory=dict)


class BaseUpstream:
    """A provider. Subclasses implement all four calls, and raise `UpstreamError` or a subclass.

    Attributes:
        kinds: the kinds of call that it answers.
        fields: the parameters that strangers may set, where others would configure the upstream
            rather than reach the provider; None where all reach the provider.
        is_live: whether its calls reach a provider, so that tests must be kept from making them.
    """

    kinds: ClassVar[frozenset[str]] = frozenset(KINDS) - {"messages"}

    fields: ClassVar[frozenset[str] | None] = None
    is_live: ClassVar[bool] = True

    def __init__(self, settings: ProviderSettings) -> None:
        self.settings = settings
        self.name = settings.name

    def identity(self, base_url: str | None = None) -> str:
        """Text that two requests share exactly when the same provider answers them: the kind of
        upstream and its base_url, never a credential. Part of every key."""
        raise NotImplementedError

    def call(self, request: UpstreamRequest) -> bytes:
        """Send a request and return the response's body: one JSON object, whatever the provider's
        own format for it is."""
        raise NotImplementedError

    def stream(self, request: UpstreamRequest) -> Iterator[bytes]:
        """Send a request for a stream and yield each event's JSON object as it arrives.

        Ends by returning only when the provider said that the stream is complete; raises
        `StreamBroken` otherwise. The end marker itself is not yielded. Closing the iterator early
        closes the connection.
        """
        raise NotImplementedError

    async def acall(self, request: UpstreamRequest) -> bytes:
        """As `call`."""
        raise NotImplementedError

    def astream(self, request: UpstreamRequest) -> AsyncIterator[bytes]:
        """As `stream`."""
        raise NotImplementedError

    def check(self) -> list[CheckMessage]:
        """System check messages about this provider's settings; must not touch the network."""
        return []

    def close(self) -> None:
        """Give back connections; the upstream may be used again afterwards."""
