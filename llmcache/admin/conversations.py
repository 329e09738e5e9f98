"""A stored call as people read it: who said what, and what was answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from llmcache import engine
from llmcache.admin.formats import visible
from llmcache.envelope import Envelope
from llmcache.models import Entry

_LONGEST: Final = 20_000


@dataclass(frozen=True, slots=True)
class Turn:
    """Something that somebody said.

    Attributes:
        role: "user", "assistant", "system", "tool" and so on.
        text: at most 20,000 characters of it.
    """

    role: str
    text: str


def material_of(entry: Entry) -> dict[str, Any]:
    """The key's material as the index keeps it; {} where it keeps none."""
    parsed = orjson.loads(entry.material) if entry.material else {}
    return parsed if isinstance(parsed, dict) else {}


def pretty(value: object) -> str:
    """JSON for people, in which nothing invisible hides."""
    return visible(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def asked(material: dict[str, Any]) -> list[Turn]:
    """What was said to the model; [] where the index keeps no prompt."""
    params = material.get("params")
    if not isinstance(params, dict):
        return []
    turns = [
        Turn("system", _text(params[name])) for name in ("system", "instructions") if name in params
    ]
    for name in ("messages", "input", "prompt"):
        if name in params:
            turns += _turns(params[name])
    return [turn for turn in turns if not turn.text.startswith("<prompt: ")]


def _turns(value: Any) -> Iterable[Turn]:
    if isinstance(value, list) and any(isinstance(part, dict) and "role" in part for part in value):
        for part in value:
            if isinstance(part, dict):
                yield Turn(visible(str(part.get("role") or part.get("type"))), _said(part))
    else:
        yield Turn("user", _text(value))


def _said(message: dict[str, Any]) -> str:
    parts = [_text(message.get("content") or message.get("refusal") or "")]
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        parts.append(f"{function.get('name', '')}({function.get('arguments', '')})")
    return _cut("\n".join(part for part in parts if part))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, list):
        return _cut("\n".join(filter(None, map(_text, value))))
    if isinstance(value, dict):
        for name in ("text", "content", "transcript"):
            if value.get(name):
                return _text(value[name])
        return f"[{value.get('type', 'data')}] {_inside(value)}".rstrip()
    return "" if value is None else str(value)


def _inside(part: dict[str, Any]) -> str:
    """What stands for an image or a sound: its address, or its size if it came along."""
    found = part.get("image_url") or part.get("input_audio") or part.get("file") or part
    address = found.get("url") or found.get("data") if isinstance(found, dict) else found
    return visible(str(address or ""))[:200]


def _cut(text: str) -> str:
    shown = visible(text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def answered(kind: str, envelope: Envelope) -> str:
    """The answer as text: what was said, or the JSON of it where that is no text."""
    try:
        parsed = orjson.loads(engine.body_of(kind, envelope))
    except (ValueError, TypeError, LookupError):
        return visible(envelope.payload.decode("utf-8", "replace"))
    return "\n\n".join(filter(None, _answers(parsed))) or pretty(parsed)


def _answers(parsed: Any) -> Iterable[str]:
    if not isinstance(parsed, dict):
        return
    for choice in parsed.get("choices") or ():
        message = choice.get("message")
        yield _said(message) if isinstance(message, dict) else _text(choice.get("text"))
    for item in parsed.get("output") or ():
        if isinstance(item, dict):
            yield _said(item) if item.get("type") == "message" else pretty(item)
    if isinstance(parsed.get("text"), str):
        yield _cut(parsed["text"])
    if isinstance(parsed.get("embedding"), list):
        vector = parsed["embedding"]
        yield f"[{', '.join(f'{number:.4f}' for number in vector[:8])}, …] ({len(vector)})"
