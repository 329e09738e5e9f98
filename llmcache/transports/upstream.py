"""The provider of one request: the SDK's own request, sent by the transport that is wrapped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import orjson

from llmcache.conf import ProviderSettings
from llmcache.exceptions import StreamBroken
from llmcache.http import event_stream
from llmcache.http.requests import text_format
from llmcache.streams import split
from llmcache.transports import exchange
from llmcache.upstreams import wire
from llmcache.upstreams.base import KINDS, BaseUpstream, UpstreamRequest

_SETTINGS: Final = ProviderSettings(name="sdk")


class TransportUpstream(BaseUpstream):
    """Sends one request; the engine asks it once at most.

    Args:
        transport: what sends it: sync or async, as the methods that are called.
        library: httpx or httpx2.
        request: the SDK's request, its body read.
        params: what the body asks for; other params ask for another body.
        identity: part of every key; see `BaseUpstream.identity`.
        stream_usage: ask for the usage of a stream that does not ask for it itself.

    Attributes:
        live: what the provider answered, once it has; None as long as it was not asked.
    """

    kinds = frozenset(KINDS)

    def __init__(
        self,
        transport: Any,
        library: Any,
        request: Any,
        params: Any,
        identity: str,
        *,
        stream_usage: bool,
    ) -> None:
        super().__init__(_SETTINGS)
        self._transport = transport
        self._library = library
        self._request = request
        self._params = params
        self._identity = identity
        self._stream_usage = stream_usage
        self.live: exchange.Answered | None = None

    def identity(self, base_url: str | None = None) -> str:
        return self._identity

    # --- sync ---

    def call(self, request: UpstreamRequest) -> bytes:
        response = self._send(self._outgoing(request, stream=False))
        return self._taken(request, response, response.content)

    def _send(self, outgoing: Any) -> Any:
        """A response with its body read, whatever its status."""
        try:
            response = self._transport.handle_request(outgoing)
            try:
                response.read()
            finally:
                response.close()
        except self._library.TransportError as error:
            raise self._unreached(error, begun=False) from error
        return response

    def stream(self, request: UpstreamRequest) -> Iterator[bytes]:
        try:
            response = self._transport.handle_request(self._outgoing(request, stream=True))
        except self._library.TransportError as error:
            raise self._unreached(error, begun=False) from error
        try:
            if not _is_stream(response):
                yield from self._unstreamed(request, response, response.read())
                return
            self.live = exchange.answered(response)
            reader = wire.StreamReader(request.kind, self.name)
            for piece in response.iter_bytes():
                yield from reader.feed(piece)
                if reader.complete:
                    break
            reader.end()
        except self._library.TransportError as error:
            raise self._unreached(error, begun=True) from error
        finally:
            response.close()

    # --- async ---

    async def acall(self, request: UpstreamRequest) -> bytes:
        response = await self._asend(self._outgoing(request, stream=False))
        return self._taken(request, response, response.content)

    async def _asend(self, outgoing: Any) -> Any:
        try:
            response = await self._transport.handle_async_request(outgoing)
            try:
                await response.aread()
            finally:
                await response.aclose()
        except self._library.TransportError as error:
            raise self._unreached(error, begun=False) from error
        return response

    async def astream(self, request: UpstreamRequest) -> AsyncIterator[bytes]:
        try:
            outgoing = self._outgoing(request, stream=True)
            response = await self._transport.handle_async_request(outgoing)
        except self._library.TransportError as error:
            raise self._unreached(error, begun=False) from error
        try:
            if not _is_stream(response):
                for event in self._unstreamed(request, response, await response.aread()):
                    yield event
                return
            self.live = exchange.answered(response)
            reader = wire.StreamReader(request.kind, self.name)
            async for piece in response.aiter_bytes():
                for event in reader.feed(piece):
                    yield event
                if reader.complete:
                    break
            reader.end()
        except self._library.TransportError as error:
            raise self._unreached(error, begun=True) from error
        finally:
            await response.aclose()

    # --- without I/O ---

    def _outgoing(self, request: UpstreamRequest, *, stream: bool) -> Any:
        """The SDK's request or, where other items or the usage are asked for, one like it."""
        original = self._request
        changed: dict[str, Any] = {}
        if request.params is not self._params:
            changed.update(request.params)
        if stream and self._stream_usage and request.kind in ("completion", "text_completion"):
            options = request.unkeyed.get("stream_options") or {}
            changed["stream_options"] = {**options, "include_usage": True}
        if not changed:
            return original
        body = orjson.dumps({**orjson.loads(original.content), **changed})
        headers = [pair for pair in original.headers.raw if pair[0].lower() != b"content-length"]
        return self._library.Request(
            original.method,
            original.url,
            headers=headers,
            content=body,
            extensions=original.extensions,
        )

    def _taken(self, request: UpstreamRequest, response: Any, content: bytes) -> bytes:
        if not response.is_success:
            raise exchange.refused(response, content, self.name)
        self.live = exchange.answered(response, content)
        if request.kind == "transcription" and text_format(request.params):
            return orjson.dumps({"text": content.decode("utf-8", "replace")})
        return content

    def _unstreamed(self, request: UpstreamRequest, response: Any, body: bytes) -> list[bytes]:
        """The events of an answer that came as a whole although a stream was asked for."""
        content = self._taken(request, response, body)
        try:
            return split(request.kind, content)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            text = "sent an answer that is neither a stream nor a whole answer"
            raise StreamBroken(text, provider=self.name) from error

    def _unreached(self, error: Exception, *, begun: bool) -> Exception:
        timed_out = isinstance(error, self._library.TimeoutException)
        return exchange.unreached(error, timed_out=timed_out, begun=begun, provider=self.name)


def _is_stream(response: Any) -> bool:
    kind = response.headers.get("content-type", "")
    return bool(response.is_success) and kind.startswith(event_stream.CONTENT_TYPE)
