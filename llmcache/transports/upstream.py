"""The provider of one request: it sends the SDK's own request over the transport below.

What it cannot take for an answer it leaves in `passed` for the door to hand on as it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import orjson

from llmcache.conf import ProviderSettings
from llmcache.exceptions import (
    ServerFailed,
    StreamBroken,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from llmcache.http import event_stream
from llmcache.singleflight import Unshared
from llmcache.transports import instructions
from llmcache.transports.reading import Asked
from llmcache.transports.replies import Headers, Reply
from llmcache.upstreams import retry, wire
from llmcache.upstreams.base import KINDS, BaseUpstream, UpstreamRequest
from llmcache.upstreams.failures import from_status, read_body

_USAGE_ON_REQUEST: Final = frozenset({"completion", "text_completion"})
_OK: Final = 200


class RequestUpstream(BaseUpstream):
    """Answers the calls that one request of an SDK amounts to.

    Attributes:
        is_asked: whether anything has been sent.
        is_complete: whether the stream has come to its end, even if not all of it has been read.
        headers: the provider's, once it has answered.
        passed: the provider's response where it is no answer to keep: a Reply, or the library's
            own response, not yet read.
    """

    kinds = frozenset(KINDS)

    def __init__(
        self, library: Any, transport: Any, request: Any, asked: Asked, *, stream_usage: bool
    ) -> None:
        super().__init__(ProviderSettings(name=request.url.host))
        self._library = library
        self._transport = transport
        self._request = request
        self._asked = asked
        self._stream_usage = stream_usage
        self._open: Any = None
        self.is_asked = False
        self.is_complete = False
        self.headers: Headers | None = None
        self.passed: Any = None

    def identity(self, base_url: str | None = None) -> str:
        return self._asked.identity

    # --- whole answers ---

    def call(self, request: UpstreamRequest) -> bytes:
        sent = self._sent(request, stream=False)
        try:
            response = self._transport.handle_request(sent)
            if _is_event_stream(response):
                raise self._no_answer(response)
            try:
                body = b"".join(response.stream)
            finally:
                response.close()
        except self._library.RequestError as error:
            raise self._unreachable(error) from error
        return self._answer(request, self._reply(response, body))

    async def acall(self, request: UpstreamRequest) -> bytes:
        sent = self._sent(request, stream=False)
        try:
            response = await self._transport.handle_async_request(sent)
            if _is_event_stream(response):
                raise self._no_answer(response)
            try:
                body = b"".join([part async for part in response.stream])
            finally:
                await response.aclose()
        except self._library.RequestError as error:
            raise self._unreachable(error) from error
        return self._answer(request, self._reply(response, body))

    def _answer(self, request: UpstreamRequest, reply: Reply) -> bytes:
        """The JSON object in a reply.

        Raises:
            UpstreamError: the provider refuses or fails; `original` is the reply.
            Unshared: the reply is something else.
        """
        if reply.status != _OK:
            raise self._refused(reply)
        content = self._decoded(reply)
        kind = "application/json"
        if self._asked.text_type:
            kind = dict(reply.headers).get(b"content-type", b"text/plain").decode("latin-1")
        try:
            answer = wire.answer_of(request, content, kind, self.name)
        except ServerFailed as error:
            error.original = reply
            raise
        if request.params is self._asked.call.params:  # else it answers a part of the request
            self.passed = reply
        return answer

    # --- streams ---

    def stream(self, request: UpstreamRequest) -> Iterator[bytes]:
        sent = self._sent(request, stream=True)
        try:
            response = self._open = self._transport.handle_request(sent)
            if response.status_code != _OK:
                try:
                    body = b"".join(response.stream)
                finally:
                    response.close()
                raise self._refused(self._reply(response, body))
            reader = self._begun(response, request.kind)
            for piece in self._readable(response).iter_bytes():
                found = reader.feed(piece)
                self.is_complete = reader.complete
                yield from found
                if reader.complete:
                    break
            reader.end()
        except self._library.RequestError as error:
            raise self._broken(error) from error
        finally:
            self.close()

    async def astream(self, request: UpstreamRequest) -> AsyncIterator[bytes]:
        sent = self._sent(request, stream=True)
        try:
            response = self._open = await self._transport.handle_async_request(sent)
            if response.status_code != _OK:
                try:
                    body = b"".join([part async for part in response.stream])
                finally:
                    await response.aclose()
                raise self._refused(self._reply(response, body))
            reader = self._begun(response, request.kind)
            async for piece in self._readable(response).aiter_bytes():
                found = reader.feed(piece)
                self.is_complete = reader.complete
                for event in found:
                    yield event
                if reader.complete:
                    break
            reader.end()
        except self._library.RequestError as error:
            raise self._broken(error) from error
        finally:
            await self.aclose()

    def _begun(self, response: Any, kind: str) -> wire.StreamReader:
        """A reader of the stream that a response has begun.

        Raises:
            Unshared: it is no stream.
        """
        if not _is_event_stream(response):
            self._open = None
            raise self._no_answer(response)
        self.headers = list(response.headers.raw)
        return wire.StreamReader(kind, self.name)

    def _readable(self, response: Any) -> Any:
        """The response afresh: those of a MockTransport count as read already."""
        return self._library.Response(
            response.status_code, headers=response.headers.raw, stream=response.stream
        )

    def close(self) -> None:
        """Give the connection of a stream back, however much of it was read."""
        response, self._open = self._open, None
        if response is not None:
            response.close()

    async def aclose(self) -> None:
        """As `close`."""
        response, self._open = self._open, None
        if response is not None:
            await response.aclose()

    # --- what is sent ---

    def _sent(self, request: UpstreamRequest, *, stream: bool) -> Any:
        """The SDK's request, without what is for the cache; its body is another one only if it
        must ask for something else."""
        self.is_asked = True
        return without_instructions(self._library, self._request, self._body(request, stream))

    def _body(self, request: UpstreamRequest, stream: bool) -> bytes | None:
        call, fields = self._asked.call, self._asked.fields
        changed: dict[str, Any] = {}
        if call.kind == "embedding" and request.params is not call.params:
            changed["input"] = request.params["input"]
        if stream and self._stream_usage and call.kind in _USAGE_ON_REQUEST:
            options = fields.get("stream_options") or {}
            if not call.wants_usage_chunk:
                changed["stream_options"] = {**options, "include_usage": True}
        if call.stream and not stream:  # a stream's stale entry is renewed by a plain call
            changed["stream"] = False
            fields = {name: value for name, value in fields.items() if name != "stream_options"}
        return orjson.dumps({**fields, **changed}) if changed else None

    # --- what comes back ---

    def _reply(self, response: Any, body: bytes) -> Reply:
        self.headers = list(response.headers.raw)
        return Reply(response.status_code, self.headers, body, response.extensions)

    def _no_answer(self, response: Any) -> Unshared:
        self.passed = response
        return Unshared()

    def _decoded(self, reply: Reply) -> bytes:
        if not any(name.lower() == b"content-encoding" for name, _ in reply.headers):
            return reply.body
        response = self._library.Response(reply.status, headers=reply.headers, content=reply.body)
        return bytes(response.content)

    def _refused(self, reply: Reply) -> Exception:
        """The error that a reply is; redirects and the like are none, and are passed on."""
        if reply.status < 400:
            self.passed = reply
            return Unshared()
        content = self._decoded(reply)
        for secret in self._asked.secrets:
            content = content.replace(secret, b"[hidden]")
        message, body = read_body(content)
        headers = self._library.Headers(reply.headers)
        error = from_status(
            reply.status,
            message,
            request_id=headers.get("x-request-id") or headers.get("request-id") or "",
            provider=self.name,
            body=body,
            retry_after=retry.asked_wait(headers),
        )
        error.original = reply
        return error

    def _unreachable(self, error: Exception) -> UpstreamError:
        kind = UpstreamUnreachable
        if isinstance(error, self._library.TimeoutException):
            kind = UpstreamTimeout
        made = kind(str(error) or type(error).__name__, provider=self.name)
        made.original = error
        return made

    def _broken(self, error: Exception) -> UpstreamError:
        """The error that ends a stream, or keeps it from beginning."""
        if self.headers is None:
            return self._unreachable(error)
        broken = StreamBroken(str(error) or type(error).__name__, provider=self.name)
        broken.original = error
        return broken


def _is_event_stream(response: Any) -> bool:
    kind = str(response.headers.get("content-type", ""))
    return kind.lower().startswith(event_stream.CONTENT_TYPE)


def without_instructions(
    library: Any, request: Any, body: bytes | None = None, *, all_paths: bool = False
) -> Any:
    """A request as the provider is to get it: the very same one, if nothing in it is for the cache.

    Args:
        body: replaces the request's own.
        all_paths: take off only what no other cache could mean: the path is not one of ours.
    """
    headers = [
        (name, value)
        for name, value in request.headers.raw
        if not _is_for_us(name.lower().decode("latin-1"), all_paths)
    ]
    if body is None and len(headers) == len(request.headers.raw):
        return request
    if body is None:
        content = {"stream": request.stream}
    else:
        framing = (b"content-length", b"transfer-encoding")
        headers = [(name, value) for name, value in headers if name.lower() not in framing]
        content = {"content": body}
    return library.Request(
        request.method, request.url, headers=headers, extensions=request.extensions, **content
    )


def _is_for_us(name: str, all_paths: bool) -> bool:
    if all_paths:
        return name.startswith(instructions.PREFIX)
    return instructions.are_for_us(name)
