"""Anthropic's Messages format: a recorded stream and the whole message, each made from the other.

Pure functions, as `llmcache.streams` has them for OpenAI's formats. The events are those of
https://docs.anthropic.com/en/docs/build-with-claude/streaming.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from llmcache.usage import Usage, reported

Json = dict[str, Any]
Cut = Callable[[str], Sequence[str]]
_TEXTS: Final = {"text_delta": "text", "thinking_delta": "thinking"}
"""The deltas that add to a text of their block, and to which."""
_REASONS: Final = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "refusal": "content_filter",
}


def assemble(events: Sequence[Json]) -> Json:
    """The message that a stream's events amount to.

    Raises:
        ValueError, LookupError, TypeError: the events are not of that format, or not complete.
    """
    message: Json | None = None
    blocks: dict[int, Json] = {}
    inputs: dict[int, str] = {}
    ended = False
    for event in events:
        kind = event["type"]
        if kind == "message_start":
            message = dict(event["message"])
        elif kind == "content_block_start":
            blocks[event["index"]] = dict(event["content_block"])
        elif kind == "content_block_delta":
            index = event["index"]
            _add(blocks[index], event["delta"], inputs, index)
        elif kind == "message_delta" and message is not None:
            message.update(event["delta"])
            if event.get("usage"):
                message["usage"] = {**message.get("usage", {}), **event["usage"]}
        elif kind == "message_stop":
            ended = True
    if message is None or not ended:
        raise ValueError("the stream has no whole message")
    for index, text in inputs.items():
        blocks[index]["input"] = orjson.loads(text) if text else {}
    message["content"] = [blocks[index] for index in sorted(blocks)]
    return message


def _add(block: Json, delta: Json, inputs: dict[int, str], index: int) -> None:
    kind = delta["type"]
    if kind == "input_json_delta":
        inputs[index] = inputs.get(index, "") + delta["partial_json"]
    elif kind in _TEXTS:
        name = _TEXTS[kind]
        block[name] = (block.get(name) or "") + delta[name]
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
    else:  # signature_delta, and kinds to come: their fields belong to the block
        block.update({name: value for name, value in delta.items() if name != "type"})


def split(message: Json, pieces: Cut) -> Iterator[Json]:
    """The events of a stream that amounts to a message.

    Args:
        pieces: cuts a text into the pieces that it is to come in.
    """
    usage = message.get("usage") or {}
    begun = {
        **message,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    if usage:
        begun["usage"] = {**usage, "output_tokens": 0}
    yield {"type": "message_start", "message": begun}
    for index, block in enumerate(message.get("content") or ()):
        yield {
            "type": "content_block_start",
            "index": index,
            "content_block": _begun(block),
        }
        for delta in _deltas(block, pieces):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ends = ("stop_reason", "stop_sequence")
    delta = {name: message.get(name) for name in ends}
    yield {"type": "message_delta", "delta": delta, **({"usage": usage} if usage else {})}
    yield {"type": "message_stop"}


def _begun(block: Json) -> Json:
    kind = block.get("type")
    if kind == "text":
        return {**block, "text": "", **({"citations": []} if block.get("citations") else {})}
    if kind == "thinking":
        signed = {"signature": ""} if "signature" in block else {}
        return {**block, "thinking": "", **signed}
    if "input" in block:
        return {**block, "input": {}}
    return block


def _deltas(block: Json, pieces: Cut) -> Iterable[Json]:
    kind = block.get("type")
    if kind == "text":
        for citation in block.get("citations") or ():
            yield {"type": "citations_delta", "citation": citation}
        for piece in pieces(block.get("text") or ""):
            yield {"type": "text_delta", "text": piece}
    elif kind == "thinking":
        for piece in pieces(block.get("thinking") or ""):
            yield {"type": "thinking_delta", "thinking": piece}
        if block.get("signature"):
            yield {"type": "signature_delta", "signature": block["signature"]}
    elif "input" in block:
        text = orjson.dumps(block["input"]).decode()
        yield {"type": "input_json_delta", "partial_json": text}


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """The tokens that a message reports. What was read from and written to the provider's prompt
    cache is reported beside the input; here it is part of it, as everywhere else."""
    read = int(usage.get("cache_read_input_tokens") or 0)
    written = int(usage.get("cache_creation_input_tokens") or 0)
    given = int(usage.get("input_tokens") or 0)
    return reported(given + read + written, int(usage.get("output_tokens") or 0), read)


def finish_reason(message: Mapping[str, Any]) -> str:
    """Why a message ended, as chat completions say it."""
    reason = message.get("stop_reason") or "stop"
    return _REASONS.get(reason, str(reason))
