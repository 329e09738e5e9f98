"""Models on this machine, over Ollama's own API: https://github.com/ollama/ollama/blob/main/docs/api.md"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx
import orjson

from llmcache.conf import ProviderSettings
from llmcache.exceptions import StreamBroken, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from llmcache.options import Options
from llmcache.upstreams.base import BaseUpstream, UpstreamRequest
from llmcache.upstreams.failures import from_status

DEFAULTS: Mapping[str, Any] = {
    "base_url": "http://127.0.0.1:11434",
    "timeout": 60.0,
    "token": "",
}


class OllamaUpstream(BaseUpstream):
    """Answers chat completions.

    OPTIONS:
        base_url (str): where Ollama is. Part of the key.
        timeout (float): seconds for an answer.
        token (str): of a server that wants one.
    """

    kinds = frozenset({"completion"})

    def __init__(self, settings: ProviderSettings) -> None:
        super().__init__(settings)
        options = Options(settings, DEFAULTS)
        self._timeout = options.seconds("timeout")
        self._base_url = options.text("base_url").rstrip("/")

    def identity(self, base_url: str | None = None) -> str:
        return f"ollama|{(base_url or self._base_url).rstrip('/')}"

    def call(self, request: UpstreamRequest) -> bytes:
        where, body = self._sent(request, stream=False)
        try:
            with httpx.Client(**self._client(request)) as client:
                response = client.post(where, content=body)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        return self._answer(response)

    async def acall(self, request: UpstreamRequest) -> bytes:
        where, body = self._sent(request, stream=False)
        try:
            async with httpx.AsyncClient(**self._client(request)) as client:
                response = await client.post(where, content=body)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        return self._answer(response)

    def stream(self, request: UpstreamRequest) -> Iterator[bytes]:
        where, body = self._sent(request, stream=True)
        reader = _Reader(self.name)
        try:
            with (
                httpx.Client(**self._client(request)) as client,
                client.stream("POST", where, content=body) as response,
            ):
                if response.is_error:
                    response.read()
                    raise self._refused(response)
                for line in response.iter_lines():
                    yield from reader.read(line)
        except httpx.HTTPError as error:
            raise self._broken(error, reader) from error
        reader.end()

    async def astream(self, request: UpstreamRequest) -> AsyncIterator[bytes]:
        where, body = self._sent(request, stream=True)
        reader = _Reader(self.name)
        try:
            async with (
                httpx.AsyncClient(**self._client(request)) as client,
                client.stream("POST", where, content=body) as response,
            ):
                if response.is_error:
                    await response.aread()
                    raise self._refused(response)
                async for line in response.aiter_lines():
                    for chunk in reader.read(line):
                        yield chunk
        except httpx.HTTPError as error:
            raise self._broken(error, reader) from error
        reader.end()

    def _client(self, request: UpstreamRequest) -> dict[str, Any]:
        token = request.api_key or self.settings.options.get("token")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return {
            "timeout": request.timeout or self._timeout,
            "headers": {**headers, **request.extra_headers},
        }

    def _sent(self, request: UpstreamRequest, *, stream: bool) -> tuple[str, bytes]:
        params = dict(request.params)
        body = {
            "model": request.model,
            "messages": params.pop("messages"),
            "stream": stream,
            "options": params,
        }
        base_url = (request.base_url or self._base_url).rstrip("/")
        return f"{base_url}/api/chat", orjson.dumps(body)

    def _answer(self, response: httpx.Response) -> bytes:
        if response.is_error:
            raise self._refused(response)
        said = response.json()
        choice = {"index": 0, "message": said["message"], "finish_reason": said["done_reason"]}
        return orjson.dumps({**_common(said), "choices": [choice], "usage": _usage(said)})

    def _refused(self, response: httpx.Response) -> UpstreamError:
        said = response.json().get("error", "no message")
        return from_status(response.status_code, said, request_id="", provider=self.name)

    def _unreachable(self, error: httpx.HTTPError) -> UpstreamError:
        kind = UpstreamTimeout if isinstance(error, httpx.TimeoutException) else UpstreamUnreachable
        return kind(str(error) or type(error).__name__, provider=self.name)

    def _broken(self, error: httpx.HTTPError, reader: _Reader) -> UpstreamError:
        if not reader.has_begun:
            return self._unreachable(error)
        return StreamBroken(str(error) or type(error).__name__, provider=self.name)


class _Reader:
    """Makes chunks of OpenAI's format of the lines of a stream."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self.has_begun = False
        self._is_complete = False

    def read(self, line: str) -> Iterator[bytes]:
        if not line:
            return
        said = orjson.loads(line)
        if "error" in said:
            raise UpstreamError(said["error"], provider=self._provider)
        self.has_begun = True
        text = said["message"]["content"]
        choice = {"index": 0, "delta": {"role": "assistant", "content": text}}
        if said["done"]:
            choice["finish_reason"] = said["done_reason"]
        yield orjson.dumps({**_common(said), "choices": [choice]})
        if said["done"]:
            self._is_complete = True
            yield orjson.dumps({**_common(said), "choices": [], "usage": _usage(said)})

    def end(self) -> None:
        if not self._is_complete:
            raise StreamBroken("the stream ended before it was complete", provider=self._provider)


def _common(said: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": said["created_at"], "model": said["model"]}


def _usage(said: Mapping[str, Any]) -> dict[str, int]:
    given, made = said.get("prompt_eval_count", 0), said.get("eval_count", 0)
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
