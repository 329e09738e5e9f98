"""A provider without a network: the same request gets the same answer, and calls are counted.

For the tests of projects that use llmcache, and for trying it out:

    LLMCACHE_PROVIDERS = {"default": {"BACKEND": "llmcache.upstreams.fake.FakeUpstream"}}

    from llmcache.upstreams import upstreams
    upstreams["default"].call_count

Answers carry ids that number the calls, so that two real calls can be told apart.
"""

from __future__ import annotations

import asyncio
import math
import struct
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any, ClassVar, Final

import orjson

from llmcache.conf import ProviderSettings
from llmcache.exceptions import ServerFailed, UpstreamError
from llmcache.keys import file_digest, wire_default
from llmcache.options import Options
from llmcache.streams import split
from llmcache.upstreams.base import KINDS, BaseUpstream, UpstreamRequest
from llmcache.upstreams.failures import from_status

_CREATED = 1_700_000_000
DEFAULTS: Final[Mapping[str, Any]] = {
    "chunk_latency": 0.0,
    "dimensions": 8,
    "fail": None,
    "fail_times": math.inf,
    "finish_reason": "stop",
    "latency": 0.0,
    "responses": None,
}
# Only who demands a tool gets a call of it: "auto" leaves it to the model, and this one answers.
_NO_TOOL = (None, "auto", "none")


class FakeUpstream(BaseUpstream):
    """A deterministic provider.

    OPTIONS:
        responses (dict or function): from a prompt's text to the answer's, or a function from the
            UpstreamRequest to it; other prompts get an answer that quotes them.
        latency (float): seconds before an answer.
        chunk_latency (float): seconds between a stream's chunks.
        fail (int or Exception): an HTTP status, or an exception, to fail with.
        fail_times (float): how often to fail.
        dimensions (int): length of embeddings.
        finish_reason (str): how every answer ends.

    Attributes:
        calls: the requests so far. `call_count` is their number; `reset()` forgets them.

    The options are attributes too, so a test may change them between calls.
    """

    kinds = frozenset(KINDS)
    is_live = False
    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS

    def __init__(self, settings: ProviderSettings) -> None:
        super().__init__(settings)
        options = Options(settings, DEFAULTS)
        self.responses: Mapping[str, str] | Callable[[UpstreamRequest], str] = (
            {} if options["responses"] is None else options["responses"]
        )
        self.latency: float = options["latency"]
        self.chunk_latency: float = options["chunk_latency"]
        self.fail: int | Exception | None = options["fail"]
        self.fail_times: float = options["fail_times"]
        self.dimensions: int = options["dimensions"]
        self.finish_reason: str = options["finish_reason"]
        self.calls: list[UpstreamRequest] = []
        self._lock = threading.Lock()

    @property
    def call_count(self) -> int:
        """How many calls there were, failed ones included."""
        return len(self.calls)

    def reset(self) -> None:
        """Forget the calls so far and fail no more."""
        with self._lock:
            self.calls.clear()
            self.fail, self.fail_times = None, math.inf

    def identity(self, base_url: str | None = None) -> str:
        return f"fake|{base_url or self.name}"

    def call(self, request: UpstreamRequest) -> bytes:
        number = self._begin(request)
        time.sleep(self.latency)
        return self._answer(request, number)

    def stream(self, request: UpstreamRequest) -> Iterator[bytes]:
        number = self._begin(request)
        time.sleep(self.latency)
        for chunk in split(request.kind, self._answer(request, number)):
            yield chunk
            time.sleep(self.chunk_latency)

    async def acall(self, request: UpstreamRequest) -> bytes:
        number = self._begin(request)
        await asyncio.sleep(self.latency)
        return self._answer(request, number)

    async def astream(self, request: UpstreamRequest) -> AsyncIterator[bytes]:
        number = self._begin(request)
        await asyncio.sleep(self.latency)
        for chunk in split(request.kind, self._answer(request, number)):
            yield chunk
            await asyncio.sleep(self.chunk_latency)

    def _begin(self, request: UpstreamRequest) -> int:
        with self._lock:
            self.calls.append(request)
            return len(self.calls)

    def _answer(self, request: UpstreamRequest, number: int) -> bytes:
        with self._lock:
            failing = self.fail is not None and self.fail_times > 0
            self.fail_times -= failing
        if failing:
            raise self._failure()
        made = {
            "completion": self._chat,
            "text_completion": self._text,
            "responses": self._response,
            "messages": self._message,
            "embedding": self._embeddings,
            "transcription": self._transcript,
        }[request.kind]
        try:
            return orjson.dumps(made(request, _identifier(request, number)))
        except (AttributeError, LookupError, TypeError) as error:
            # As a provider does with what it cannot read.
            text = f"the request is malformed: {error!r}"
            raise from_status(400, text, request_id="", provider=self.name) from error

    def _failure(self) -> Exception:
        if isinstance(self.fail, int):
            return from_status(
                self.fail, f"asked to fail with {self.fail}", request_id="", provider=self.name
            )
        if isinstance(self.fail, Exception):
            return self.fail
        return ServerFailed(f"fail must be a status or an exception, not {self.fail!r}")

    def _reply(self, request: UpstreamRequest, prompt: str) -> str:
        if callable(self.responses):
            return self.responses(request)
        return self.responses.get(prompt, f"You said: {prompt}")

    def _chat(self, request: UpstreamRequest, identifier: str) -> dict[str, Any]:
        messages = request.params["messages"]
        prompt = _text_of(messages[-1]["content"]) if messages else ""
        message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        finish_reason = self.finish_reason
        if request.params.get("tools") and request.params.get("tool_choice") not in _NO_TOOL:
            message["tool_calls"] = [_tool_call(request.params, identifier)]
            finish_reason = "tool_calls"
        else:
            message["content"] = self._reply(request, prompt)
        spoken = " ".join(_text_of(message["content"]) for message in messages)
        return {
            "id": f"chatcmpl-{identifier}",
            "object": "chat.completion",
            "created": _CREATED,
            "model": request.model,
            "choices": [
                {
                    "index": index,
                    "message": message,
                    "logprobs": None,
                    "finish_reason": finish_reason,
                }
                for index in range(request.params.get("n", 1))
            ],
            "usage": _usage(spoken, message["content"] or "a tool call"),
        }

    def _text(self, request: UpstreamRequest, identifier: str) -> dict[str, Any]:
        prompt = _text_of(request.params["prompt"])
        text = self._reply(request, prompt)
        choice = {
            "index": 0,
            "text": text,
            "logprobs": None,
            "finish_reason": self.finish_reason,
        }
        return {
            "id": f"cmpl-{identifier}",
            "object": "text_completion",
            "created": _CREATED,
            "model": request.model,
            "choices": [choice],
            "usage": _usage(prompt, text),
        }

    def _response(self, request: UpstreamRequest, identifier: str) -> dict[str, Any]:
        prompt = _text_of(request.params["input"])
        text = self._reply(request, prompt)
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        usage = _usage(prompt, text)
        return {
            "id": f"resp_{identifier}",
            "object": "response",
            "created_at": _CREATED,
            "status": "completed",
            "error": None,
            "incomplete_details": None,
            "instructions": request.params.get("instructions"),
            "metadata": {},
            "model": request.model,
            "output": [
                {
                    "type": "message",
                    "id": f"msg_{identifier}",
                    "status": "completed",
                    "role": "assistant",
                    "content": [part],
                }
            ],
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": {
                "input_tokens": usage["prompt_tokens"],
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": usage["completion_tokens"],
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage["total_tokens"],
            },
        }

    def _message(self, request: UpstreamRequest, identifier: str) -> dict[str, Any]:
        prompt = _text_of(request.params["messages"][-1]["content"])
        choice = request.params.get("tool_choice") or {}
        block: dict[str, Any] = {"type": "text", "text": self._reply(request, prompt)}
        stop_reason = {"length": "max_tokens"}.get(self.finish_reason, "end_turn")
        if request.params.get("tools") and choice.get("type") in ("any", "tool"):
            name = choice.get("name") or request.params["tools"][0]["name"]
            identity = f"toolu_{identifier}"
            block = {"type": "tool_use", "id": identity, "name": name, "input": {"text": "fake"}}
            stop_reason = "tool_use"
        spoken = " ".join(_text_of(message["content"]) for message in request.params["messages"])
        usage = _usage(spoken, block.get("text", "a tool call"))
        return {
            "id": f"msg_{identifier}",
            "type": "message",
            "role": "assistant",
            "model": request.model,
            "content": [block],
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": {
                "input_tokens": usage["prompt_tokens"],
                "output_tokens": usage["completion_tokens"],
            },
        }

    def _embeddings(self, request: UpstreamRequest, identifier: str) -> dict[str, Any]:
        given = request.params["input"]
        single = isinstance(given, str) or (bool(given) and isinstance(given[0], int))
        items = [given] if single else list(given)
        size = request.params.get("dimensions", self.dimensions)
        form = _base64 if request.params.get("encoding_format") == "base64" else list
        tokens = sum(len(item.split()) if isinstance(item, str) else len(item) for item in items)
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": form(_vector(item, size))}
                for index, item in enumerate(items)
            ],
            "model": request.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def _transcript(self, request: UpstreamRequest, identifier: str) -> dict[str, Any]:
        digest = file_digest(request.params["file"])
        return {"text": self._reply(request, f"sound {digest[:12]}")}


def _identifier(request: UpstreamRequest, number: int) -> str:
    params = {name: value for name, value in request.params.items() if name != "file"}
    option = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    try:
        material = orjson.dumps([request.model, params], default=wire_default, option=option)
    except TypeError as error:
        raise UpstreamError(f"the request cannot be written as JSON: {error}") from error
    return f"{sha256(material).hexdigest()[:16]}-{number}"


def _text_of(content: Any) -> str:
    """The text in a message's content, a prompt or a Responses API input, whatever its shape."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        return _text_of(content.get("text") or content.get("content"))
    if isinstance(content, (list, tuple)):
        return " ".join(filter(None, map(_text_of, content)))
    return ""


def _tool_call(params: Mapping[str, Any], identifier: str) -> dict[str, Any]:
    choice = params["tool_choice"]
    named = choice.get("function", {}).get("name") if isinstance(choice, Mapping) else None
    name = named or params["tools"][0]["function"]["name"]
    return {
        "id": f"call_{identifier}",
        "type": "function",
        "function": {"name": name, "arguments": '{"text":"fake"}'},
    }


def _usage(prompt: str, answer: str) -> dict[str, int]:
    given, made = len(prompt.split()), len(answer.split())
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def _vector(item: Any, size: int) -> list[float]:
    """A unit vector that depends on nothing but the item."""
    seed = orjson.dumps(item)
    numbers = [
        int.from_bytes(sha256(seed + at.to_bytes(4)).digest()[:4]) / 2**31 - 1 for at in range(size)
    ]
    length = math.sqrt(sum(number * number for number in numbers))
    return [round(number / length, 7) for number in numbers]


def _base64(vector: list[float]) -> str:
    """A vector as `encoding_format="base64"` returns it: 32-bit floats, little-endian."""
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
