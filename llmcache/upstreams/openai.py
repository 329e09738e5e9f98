"""Any provider that speaks OpenAI's HTTP API, over pooled httpx clients."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, ClassVar, Final, NamedTuple
from weakref import WeakSet

import httpx

from llmcache.conf import ProviderSettings
from llmcache.exceptions import (
    BadRequest,
    StreamBroken,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from llmcache.keys import asking_headers
from llmcache.options import Options
from llmcache.upstreams import retry, wire
from llmcache.upstreams.base import KINDS, BaseUpstream, UpstreamRequest
from llmcache.upstreams.failures import from_status, note_address, note_missing_key, read_body

DEFAULTS: Final[Mapping[str, Any]] = {
    "api_key": None,
    "api_key_env": "OPENAI_API_KEY",
    "base_url": "https://api.openai.com/v1",
    "connect_timeout": 5.0,
    "default_headers": {},
    "default_query": {},
    "max_connections": 100,
    "max_retries": 2,
    "organization": None,
    "paths": {},
    "project": None,
    "proxy": None,
    "stream_usage": True,
    "timeout": 600.0,
    "verify": True,
}


class _Prepared(NamedTuple):
    """A request as httpx takes it, how often to try again, and the key that no error may show."""

    arguments: dict[str, Any]
    retries: int
    secret: bytes

    def __repr__(self) -> str:
        return "<a request that is ready to be sent>"  # reports of errors show local variables


class OpenAICompatible(BaseUpstream):
    """A provider, reached over one pool of connections per process and per event loop.

    OPTIONS:
        base_url (str): where the API is, version included. Part of the key.
        api_key (str): the key; better not in the settings file.
        api_key_env (str): the environment variable that has the key when a call is made. Servers
            that need none get none.
        timeout (float): seconds for an answer.
        connect_timeout (float): seconds for a connection.
        max_retries (int): for failed connections and for the statuses 408, 409, 429 and 5xx.
        organization, project (str): OpenAI's. Part of the key.
        default_headers, default_query (dict): sent with every request. Part of the key, as a hash,
            but for credentials and the headers of tracers.
        stream_usage (bool): ask for the usage of streams; some servers refuse that.
        paths (dict): other paths by kind of call, such as {"completion": "/chat"}. Part of the key.
        max_connections (int): of a process to the provider.
        proxy (str): as httpx has it.
        verify (bool or SSLContext): as httpx has it.
    """

    kinds = frozenset(KINDS)
    protocol: ClassVar[str] = "openai"
    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS

    def __init__(self, settings: ProviderSettings) -> None:
        super().__init__(settings)
        self._options = options = Options(settings, self.defaults)
        for key in ("timeout", "connect_timeout"):
            options.seconds(key)
        options.whole("max_retries", least=0)
        options.whole("max_connections")
        for key in ("default_headers", "default_query", "paths"):
            options.secret(key, Mapping, "a dict")
        options.secret("base_url", str, "a text")
        for key in ("api_key", "api_key_env", "organization", "project"):
            if key in self.defaults:
                options.secret(key, str | None, "a text")
        self._base_url = wire.normalised_url(self._options["base_url"])
        self._mark = wire.settings_mark(
            {
                "headers": asking_headers(self._options["default_headers"]),
                "query": self._options["default_query"],
                "paths": self._options["paths"],
                "version": self._options.get("anthropic_version"),
            }
        )
        self._forget_clients()
        _living.add(self)

    def identity(self, base_url: str | None = None) -> str:
        parts = [self.protocol, wire.normalised_url(base_url) if base_url else self._base_url]
        account = (self._options.get("organization"), self._options.get("project"))
        if any(account):
            parts.extend(part or "" for part in account)
        if self._mark:
            parts.append(self._mark)
        return "|".join(parts)

    def close(self) -> None:
        client = self._client
        self._forget_clients()
        if client is not None:
            client.close()

    def _forget_clients(self) -> None:
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._async_clients: dict[asyncio.AbstractEventLoop, httpx.AsyncClient] = {}

    # --- calls ---

    def call(self, request: UpstreamRequest) -> bytes:
        response = self._send(request, stream=False)
        return self._answer(request, response)

    async def acall(self, request: UpstreamRequest) -> bytes:
        response = await self._asend(request, stream=False)
        return self._answer(request, response)

    def stream(self, request: UpstreamRequest) -> Iterator[bytes]:
        response = self._send(request, stream=True)
        reader = wire.StreamReader(request.kind, self.name)
        try:
            for piece in response.iter_bytes():
                yield from reader.feed(piece)
                if reader.complete:
                    break
            reader.end()
        except httpx.HTTPError as error:
            raise self._broken(error) from error
        finally:
            response.close()

    async def astream(self, request: UpstreamRequest) -> AsyncIterator[bytes]:
        response = await self._asend(request, stream=True)
        reader = wire.StreamReader(request.kind, self.name)
        try:
            async for piece in response.aiter_bytes():
                for event in reader.feed(piece):
                    yield event
                if reader.complete:
                    break
            reader.end()
        except httpx.HTTPError as error:
            raise self._broken(error) from error
        finally:
            await response.aclose()

    def _answer(self, request: UpstreamRequest, response: httpx.Response) -> bytes:
        kind = response.headers.get("content-type", "")
        return wire.answer_of(request, response.content, kind, self.name)

    # --- sending ---

    def _send(self, request: UpstreamRequest, *, stream: bool) -> httpx.Response:
        prepared = self._prepare(request, stream)
        client = self._sync_client()
        attempt = 0
        while True:
            attempt += 1
            asked: float | None = None
            try:
                response = client.send(self._build(client, prepared), stream=stream)
                if response.is_success:
                    return response
                response.read()
            except httpx.HTTPError as error:
                failure: UpstreamError = self._unreachable(error)
            else:
                failure, asked = self._refused(response, prepared.secret)
                if not retry.worth_it(response.status_code, response.headers):
                    raise failure
            wait = retry.wait_before(attempt, asked)
            if attempt > prepared.retries or wait is None:
                raise failure
            time.sleep(wait)

    async def _asend(self, request: UpstreamRequest, *, stream: bool) -> httpx.Response:
        prepared = self._prepare(request, stream)
        client = self._async_client()
        attempt = 0
        while True:
            attempt += 1
            asked: float | None = None
            try:
                response = await client.send(self._build(client, prepared), stream=stream)
                if response.is_success:
                    return response
                await response.aread()
            except httpx.HTTPError as error:
                failure: UpstreamError = self._unreachable(error)
            else:
                failure, asked = self._refused(response, prepared.secret)
                if not retry.worth_it(response.status_code, response.headers):
                    raise failure
            wait = retry.wait_before(attempt, asked)
            if attempt > prepared.retries or wait is None:
                raise failure
            await asyncio.sleep(wait)

    def _prepare(self, request: UpstreamRequest, stream: bool) -> _Prepared:
        options = self._options
        body = wire.body_of(
            request,
            stream=stream,
            stream_usage=options.get("stream_usage", False),
            provider=self.name,
        )
        base_url = wire.normalised_url(request.base_url) if request.base_url else self._base_url
        path = options["paths"].get(request.kind, wire.PATHS[request.kind])
        timeout = options["timeout"] if request.timeout is None else request.timeout
        retries = options["max_retries"] if request.max_retries is None else request.max_retries
        key = self._key(request.api_key, is_own=base_url == self._base_url)
        arguments: dict[str, Any] = {
            "method": "POST",
            "url": base_url + path,
            "headers": self._headers(request, key, is_json=body.content is not None),
            "params": {**options["default_query"], **request.extra_query} or None,
            "timeout": httpx.Timeout(timeout, connect=min(timeout, options["connect_timeout"])),
        }
        if body.content is not None:
            arguments["content"] = body.content
        else:
            arguments.update(data=body.data, files=body.files)
        return _Prepared(arguments, retries, key.encode())

    def _key(self, given: str | None, *, is_own: bool) -> str:
        """The key to send, or "". The provider's own goes to no other base_url."""
        options = self._options
        key = given
        if key is None and is_own:
            key = options["api_key"]
            if key is None and options["api_key_env"]:
                key = os.environ.get(options["api_key_env"])
        return (key or "").strip()

    def _headers(self, request: UpstreamRequest, key: str, *, is_json: bool) -> dict[str, str]:
        own = {"Content-Type": "application/json" if is_json else None, **self.own_headers(key)}
        given = (self._options["default_headers"], request.extra_headers)
        return wire.headers_of(own, *given, provider=self.name)

    def own_headers(self, key: str) -> dict[str, str | None]:
        """The headers that say who asks; those that are None are not sent.

        Args:
            key: the API key, or "" where there is none.
        """
        return {
            "Authorization": f"Bearer {key}" if key else None,
            "OpenAI-Organization": self._options["organization"],
            "OpenAI-Project": self._options["project"],
        }

    def _build(
        self, client: httpx.Client | httpx.AsyncClient, prepared: _Prepared
    ) -> httpx.Request:
        try:
            return client.build_request(**prepared.arguments)
        except httpx.InvalidURL as error:
            raise BadRequest(f"the URL is not valid: {error}", provider=self.name) from error

    def _sync_client(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = httpx.Client(**self._client_options())
            return self._client

    def _async_client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._async_clients:
                # A client's connections refer to their loop, so that weak references would keep
                # every loop alive: those of loops that are done are let go here.
                for other in [other for other in self._async_clients if other.is_closed()]:
                    del self._async_clients[other]
                self._async_clients[loop] = httpx.AsyncClient(**self._client_options())
            return self._async_clients[loop]

    def _client_options(self) -> dict[str, Any]:
        most = self._options["max_connections"]
        limits = httpx.Limits(max_connections=most, max_keepalive_connections=most)
        proxy, verify = self._options["proxy"], self._options["verify"]
        return {"limits": limits, "proxy": proxy, "verify": verify}

    # --- failures ---

    def _refused(
        self, response: httpx.Response, secret: bytes
    ) -> tuple[UpstreamError, float | None]:
        """The error that a response is, and how long the provider asks to wait."""
        asked = retry.asked_wait(response.headers)
        content = response.content.replace(secret, b"[hidden]") if secret else response.content
        message, body = read_body(content)
        request_id = response.headers.get("x-request-id", "")
        failure = from_status(
            response.status_code,
            message,
            request_id=request_id,
            provider=self.name,
            body=body,
            retry_after=asked,
        )
        note_missing_key(failure, response.request.headers, self._options["api_key_env"])
        return failure, asked

    def _unreachable(self, error: httpx.HTTPError) -> UpstreamError:
        if isinstance(error, httpx.TimeoutException):
            kind = type(error).__name__.removesuffix("Timeout").lower() or "request"
            return UpstreamTimeout(f"no answer in time ({kind} timeout)", provider=self.name)
        failure = UpstreamUnreachable(str(error) or type(error).__name__, provider=self.name)
        note_address(failure, error)
        return failure

    def _broken(self, error: httpx.HTTPError) -> UpstreamError:
        """The error that ends a stream which had begun."""
        if isinstance(error, httpx.TimeoutException):
            return self._unreachable(error)
        return StreamBroken(str(error) or type(error).__name__, provider=self.name)


_living: WeakSet[OpenAICompatible] = WeakSet()


def _forget_parents_connections() -> None:
    for upstream in _living:
        upstream._forget_clients()


os.register_at_fork(after_in_child=_forget_parents_connections)
