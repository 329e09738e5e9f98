"""Whatever events a provider sends, the recorder of a stream fails in no way but those that it is
ready for: an answer that is not understood is passed on and not stored."""

from __future__ import annotations

from typing import Any

import orjson
from atheris import FuzzedDataProvider

from llmcache import policy
from llmcache.streams import assemble, finish_reasons, split, usage_of

KINDS = ("completion", "text_completion", "responses", "messages")
NOT_UNDERSTOOD = (ValueError, LookupError, TypeError, AttributeError)
NAMES = (
    "arguments", "cached_tokens", "choices", "citation", "citations", "completion_tokens",
    "content", "content_block", "created", "delta", "error", "finish_reason", "function",
    "function_call", "id", "incomplete_details", "index", "input", "input_tokens",
    "input_tokens_details", "logprobs", "message", "model", "name", "object", "output",
    "output_tokens", "partial_json", "prompt_tokens", "prompt_tokens_details", "reason", "refusal",
    "response", "role", "signature", "status", "stop_reason", "text", "thinking", "tool_calls",
    "type", "usage",
)  # fmt: skip
TEXTS = (
    "", "a", "two words", "{", "{}", '{"a":1}', "assistant", "completed", "content_block_delta",
    "content_block_start", "content_block_stop", "failed", "function_call", "incomplete",
    "input_json_delta", "length", "message", "message_delta", "message_start", "message_stop",
    "output_text", "ping", "refusal", "response.completed", "response.failed",
    "response.incomplete", "signature_delta", "stop", "text", "text_delta", "thinking",
    "thinking_delta", "tool_use", "citations_delta",
)  # fmt: skip
NUMBERS = (0, 1, 2, -1, 1.5, 1e308, 2**53, 2**63, True, False, None)


def check(data: bytes) -> None:
    """Raises AssertionError, or what else breaks the promise."""
    given = FuzzedDataProvider(data)
    kind = KINDS[given.ConsumeIntInRange(0, len(KINDS) - 1)]
    chunks = [orjson.dumps(event(given)) for _ in range(given.ConsumeIntInRange(0, 6))]
    if given.ConsumeBool():
        chunks.append(given.ConsumeBytes(50))
    try:
        whole = assemble(kind, chunks)
        answer = orjson.loads(whole)
        usage = usage_of(kind, answer)
        finish_reasons(kind, answer)
        policy.refusal(kind, answer)
    except NOT_UNDERSTOOD:
        return
    assert all(type(number) is int for number in usage.as_dict().values())
    try:
        again = assemble(kind, split(kind, whole))
    except NOT_UNDERSTOOD:
        return
    assert isinstance(orjson.loads(again), dict)


def event(given: FuzzedDataProvider) -> dict[str, Any]:
    """An object of the names that providers use, in any order and any depth."""
    return {one(given, NAMES): value(given, 0) for _ in range(given.ConsumeIntInRange(0, 5))}


def value(given: FuzzedDataProvider, depth: int) -> Any:
    """What may be under a name."""
    choice = given.ConsumeIntInRange(0, 5)
    if choice == 0 or depth > 4:
        return one(given, NUMBERS)
    if choice < 3:
        return one(given, TEXTS)
    inner = [value(given, depth + 1) for _ in range(given.ConsumeIntInRange(0, 3))]
    if choice == 3:
        return inner
    return {one(given, NAMES): part for part in inner}


def one(given: FuzzedDataProvider, of: tuple[Any, ...]) -> Any:
    """One of these."""
    return of[given.ConsumeIntInRange(0, len(of) - 1)]
