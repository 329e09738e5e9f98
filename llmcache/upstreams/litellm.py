"""Every provider that LiteLLM knows, where the `litellm` package is installed.

LiteLLM is imported with the first call, because that takes seconds. Its own cache stays off.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, ClassVar, Final

import httpx
import orjson

from llmcache.conf import ProviderSettings
from llmcache.exceptions import (
    BadRequest,
    StreamBroken,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from llmcache.options import Options
from llmcache.packages import require_package
from llmcache.upstreams import retry, wire
from llmcache.upstreams.base import BaseUpstream, UpstreamRequest
from llmcache.upstreams.failures import from_status

DEFAULTS: Final[Mapping[str, Any]] = {
    "api_key": None,
    "arguments": {},
    "base_url": None,
    "max_retries": 2,
    "timeout": 600.0,
}


_FIELDS: Final = frozenset(
    {
        *("audio", "dimensions", "encoding_format", "file", "frequency_penalty"),
        *("function_call", "functions", "include", "input", "instructions", "language"),
        *("logit_bias", "logprobs", "max_completion_tokens", "max_output_tokens", "max_tokens"),
        *("messages", "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty"),
        *("previous_response_id", "prompt", "reasoning", "reasoning_effort", "response_format"),
        *("safety_identifier", "seed", "service_tier", "stop", "store", "suffix", "temperature"),
        *("text", "timestamp_granularities", "tool_choice", "tools", "top_k", "top_logprobs"),
        *("top_p", "truncation", "user", "verbosity", "web_search_options", "best_of", "echo"),
    }
)
"""What of OpenAI's parameters describes a request; any other may tell LiteLLM where to send it."""


class LiteLLMUpstream(BaseUpstream):
    """Calls through `litellm.completion` and its siblings; models are named as LiteLLM names them.

    OPTIONS:
        api_key (str): the key; without it LiteLLM reads each provider's own environment variable.
        base_url (str): where the API is; without it LiteLLM knows. Part of the key.
        timeout (float): seconds for an answer.
        max_retries (int): for what may go better the next time.
        arguments (dict): more arguments for every call, such as {"api_version": "2024-10-21"}. Part
            of the key, as a hash.

    LiteLLM reports a stream that merely ends as complete, so such an answer counts as whole; one
    whose connection breaks raises `StreamBroken`.
    """

    fields = _FIELDS
    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS

    def __init__(self, settings: ProviderSettings) -> None:
        super().__init__(settings)
        self._options = Options(settings, DEFAULTS)
        require_package(settings.setting, "litellm", "litellm")
        self._base_url = _normalised(self._options["base_url"])
        self._mark = wire.settings_mark(self._options["arguments"])

    def identity(self, base_url: str | None = None) -> str:
        address = f"litellm|{_normalised(base_url) or self._base_url or ''}"
        return f"{address}|{self._mark}" if self._mark else address

    def call(self, request: UpstreamRequest) -> bytes:
        return _json(self._ask(request, stream=False))

    async def acall(self, request: UpstreamRequest) -> bytes:
        return _json(await self._aask(request, stream=False))

    def stream(self, request: UpstreamRequest) -> Iterator[bytes]:
        source = self._ask(request, stream=True)
        try:
            for chunk in source:
                yield _chunk(chunk)
        except Exception as error:
            raise self._failure(error, request)[0] from None
        finally:
            for part in (source, getattr(source, "completion_stream", None)):
                close = getattr(part, "close", None)
                if close is not None:
                    close()

    async def astream(self, request: UpstreamRequest) -> AsyncIterator[bytes]:
        source = await self._aask(request, stream=True)
        try:
            async for chunk in source:
                yield _chunk(chunk)
        except Exception as error:
            raise self._failure(error, request)[0] from None
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()

    # --- asking ---

    def _ask(self, request: UpstreamRequest, *, stream: bool) -> Any:
        import litellm

        arguments = self._arguments(request, stream)
        attempt = 0
        while True:
            attempt += 1
            try:
                return getattr(litellm, request.kind)(**arguments)
            except Exception as error:
                failure, wait = self._judge(error, request, attempt)
            if wait is None:
                raise failure
            time.sleep(wait)

    async def _aask(self, request: UpstreamRequest, *, stream: bool) -> Any:
        import litellm

        arguments = self._arguments(request, stream)
        attempt = 0
        while True:
            attempt += 1
            try:
                return await getattr(litellm, f"a{request.kind}")(**arguments)
            except Exception as error:
                failure, wait = self._judge(error, request, attempt)
            if wait is None:
                raise failure
            await asyncio.sleep(wait)

    def _arguments(self, request: UpstreamRequest, stream: bool) -> dict[str, Any]:
        import litellm

        litellm.suppress_debug_info = True  # it prints to standard output at every error
        options = self._options
        # The provider's own key goes to no other base_url.
        is_own = request.base_url is None or _normalised(request.base_url) == self._base_url
        arguments: dict[str, Any] = {
            **options["arguments"],
            **request.params,
            **request.unkeyed,
            "model": request.model,
            "api_key": request.api_key or (options["api_key"] if is_own else None),
            "api_base": request.base_url or options["base_url"],
            "timeout": options["timeout"] if request.timeout is None else request.timeout,
            "extra_headers": dict(request.extra_headers) or None,
            "extra_query": dict(request.extra_query) or None,
        }
        arguments = {name: value for name, value in arguments.items() if value is not None}
        if stream:
            arguments["stream"] = True
            if request.kind != "responses":
                given = arguments.get("stream_options", {})
                arguments["stream_options"] = {**given, "include_usage": True}
        else:
            arguments.pop("stream_options", None)
        if request.kind == "transcription":
            try:
                arguments["file"] = wire.file_part(arguments["file"])
            except (OSError, AttributeError) as error:
                text = f"the file cannot be read: {error}"
                raise BadRequest(text, provider=self.name) from error
        # Its cache is off for reads and for writes, and retries are made here: LiteLLM's own need
        # another package, whose absence takes the place of the provider's error.
        off = {"no-cache": True, "no-store": True}
        return {**arguments, "caching": False, "cache": off, "num_retries": 0, "max_retries": 0}

    # --- failures ---

    def _judge(
        self, error: Exception, request: UpstreamRequest, attempt: int
    ) -> tuple[UpstreamError, float | None]:
        """The error to raise, and the seconds to wait before another attempt, or None for none."""
        failure, headers = self._failure(error, request)
        most = self._options["max_retries"] if request.max_retries is None else request.max_retries
        unreached = isinstance(failure, UpstreamUnreachable)
        if attempt > most or not (unreached or retry.worth_it(failure.status or 0, headers)):
            return failure, None
        return failure, retry.wait_before(attempt, retry.asked_wait(headers))

    def _failure(
        self, error: Exception, request: UpstreamRequest
    ) -> tuple[UpstreamError, Mapping[str, str]]:
        """Our error for one of LiteLLM's, with the headers of the provider's refusal."""
        from litellm import exceptions

        if isinstance(error, UpstreamError):
            return error, {}
        message = str(error) or type(error).__name__
        for secret in (request.api_key, self._options["api_key"]):
            message = message.replace(secret, "[hidden]") if secret else message
        headers: Mapping[str, str] = (
            getattr(getattr(error, "response", None), "headers", None) or {}
        )
        status = getattr(error, "status_code", None)
        known: dict[str, Any] = {"provider": self.name}
        if isinstance(error, exceptions.MidStreamFallbackError):
            return StreamBroken(message, **known), headers
        if isinstance(error, exceptions.Timeout):
            return UpstreamTimeout(message, **known), headers
        if isinstance(error, exceptions.APIConnectionError) or _is_unreached(error):
            return UpstreamUnreachable(message, **known), headers
        if not isinstance(status, int) or status < 400:
            return UpstreamError(message, **known), headers
        known["request_id"] = headers.get("x-request-id", "")
        asked = retry.asked_wait(headers)
        return from_status(status, message, retry_after=asked, **known), headers


def _is_unreached(error: BaseException | None) -> bool:
    """Whether no connection came about, which LiteLLM reports as a status 500 that nobody sent."""
    while error is not None:
        if isinstance(error, httpx.ConnectError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _normalised(url: str | None) -> str | None:
    return wire.normalised_url(url) if url else None


def _json(answer: Any) -> bytes:
    """An answer of LiteLLM's as JSON; transcripts in plain text come as text."""
    if isinstance(answer, str):
        return orjson.dumps({"text": answer})
    written: str = answer.model_dump_json()
    return written.encode()


def _chunk(chunk: Any) -> bytes:
    """A chunk as OpenAI sends it: the usage comes without choices."""
    raw = _json(chunk)
    if not getattr(chunk, "usage", None):
        return raw
    parsed = orjson.loads(raw)
    choices = parsed.get("choices") or ()
    if any(choice["finish_reason"] or _says(choice) for choice in choices):
        return raw
    return orjson.dumps({**parsed, "choices": []})


def _says(choice: Mapping[str, Any]) -> bool:
    return bool(choice.get("text")) or any((choice.get("delta") or {}).values())
