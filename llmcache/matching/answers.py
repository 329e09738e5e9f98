"""Whether two answers say the same: how an audit tells, without anybody, if a match was right."""

from __future__ import annotations

from typing import Any

import orjson

from llmcache.backends.semantic import guards
from llmcache.backends.semantic.guards.measures import NumberGuard
from llmcache.embedders.base import BaseEmbedder
from llmcache.embedders.vectors import similarity

_GUARDS = (NumberGuard(),)
_ONLY_SAYS = frozenset({"file_search_call", "message", "reasoning", "web_search_call"})
"""Items of a response that ask nothing of the caller; any other may be a call of a tool."""


def text_of(kind: str, body: bytes) -> str | None:
    """What an answer says; None for one that is no text alone (tool calls, say).

    Args:
        body: the whole answer, as one JSON object.
    """
    try:
        answer: Any = orjson.loads(body)
        if kind == "completion":
            message = answer["choices"][0]["message"]
            calls = message.get("tool_calls") or message.get("function_call") is not None
            text = None if calls else message.get("content")
        elif kind == "text_completion":
            text = answer["choices"][0]["text"]
        elif kind == "messages":
            parts = answer["content"]
            only_text = all(part.get("type") == "text" for part in parts)
            text = "".join(part["text"] for part in parts) if only_text else None
        else:
            items = answer["output"]
            parts = [part for item in items for part in item.get("content") or ()]
            said = (part["text"] for part in parts if part.get("type") == "output_text")
            only_text = all(item.get("type") in _ONLY_SAYS for item in items)
            text = "".join(said) if only_text else None
    except (ValueError, TypeError, LookupError, AttributeError):
        return None
    return text if isinstance(text, str) and text.strip() else None


def agree(kind: str, one: bytes, other: bytes, embedder: BaseEmbedder) -> bool | None:
    """Whether two answers say the same, as far as a machine can tell: the same words, or near in
    meaning with the same numbers. None where it cannot: an answer that is no text, or too long to
    embed.
    """
    first, second = text_of(kind, one), text_of(kind, other)
    if first is None or second is None:
        return None
    if first.split() == second.split():
        return True
    vectors = embedder.embed(first), embedder.embed(second)
    if vectors[0] is None or vectors[1] is None or vectors[0].space != vectors[1].space:
        return None
    if guards.veto(_GUARDS, first, second) is not None:
        return False
    return similarity(vectors[0].data, vectors[1].data) >= embedder.threshold
