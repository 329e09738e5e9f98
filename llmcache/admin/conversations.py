"""A stored call as people read it: who said what, and what was answered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from django.utils.translation import gettext as _

from llmcache import engine
from llmcache.admin.formats import size as size_of
from llmcache.admin.formats import visible
from llmcache.envelope import Envelope
from llmcache.models import Entry

_LONGEST: Final = 20_000
_LEFT_OUT: Final = re.compile(r"<data: (\d+) bytes, ")
"""What `llmcache.prompts` writes in place of large data; the size is that of its base64."""


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
    try:
        parsed = orjson.loads(entry.material)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def pretty(value: object) -> str:
    """JSON for people, in which nothing invisible hides."""
    return shown(_json(value))


def shown(text: str) -> str:
    """A text for a page: not all of a very long one, and nothing in it hides."""
    return visible(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def asked(material: dict[str, Any]) -> list[Turn]:
    """What was said to the model; [] where the index keeps no prompt."""
    params = material.get("params")
    if not isinstance(params, dict):
        return []
    turns = [("system", _text(params.get(name))) for name in ("system", "instructions")]
    for name in ("messages", "input", "prompt"):
        turns += _turns(params.get(name))
    return [
        Turn(visible(role), shown(text))
        for role, text in turns
        if text and not text.startswith("<prompt: ")
    ]


def _turns(value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, list) and any(isinstance(part, dict) and "role" in part for part in value):
        for part in value:
            if isinstance(part, dict):
                yield str(part.get("role") or part.get("type")), _said(part)
    else:
        yield "user", _text(value)


def _said(message: dict[str, Any]) -> str:
    parts = [_text(message.get("content") or message.get("refusal") or "")]
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            parts.append(f"{function.get('name', '')}({function.get('arguments', '')})")
        else:
            parts.append(_json(call))
    return "\n".join(part for part in parts if part)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(filter(None, map(_text, value)))
    if isinstance(value, dict):
        for name in ("text", "content", "thinking", "transcript"):
            if value.get(name):
                return _text(value[name])
        return _attached(value)
    return "" if value is None else str(value)


def _attached(part: dict[str, Any]) -> str:
    """What stands for an image, a sound or a file: its address or, if it came along, its size."""
    kind = str(part.get("type", "data")).removeprefix("input_").removesuffix("_url")
    found = part.get(str(part.get("type"))) or part.get("source") or part
    for name in ("url", "image_url", "data", "file_data"):
        if isinstance(found, dict) and found.get(name):
            found = found[name]
    if not isinstance(found, str):
        return f"[{kind}] {_json(found)}"
    if found.startswith(("http://", "https://")):
        return f"[{kind}] {found[:200]}"
    kept = _LEFT_OUT.match(found)
    encoded = found.partition(",")[2] if found.startswith("data:") else found
    letters = int(kept[1]) if kept else len(encoded.rstrip("="))
    return _("[%(kind)s, %(size)s]") % {"kind": kind, "size": size_of(letters * 3 // 4)}


def answered(kind: str, envelope: Envelope) -> str:
    """The answer as text, whole and as it is: what was said, or JSON where that is no text."""
    try:
        parsed = orjson.loads(engine.body_of(kind, envelope))
    except (ValueError, TypeError, LookupError):
        return envelope.payload.decode("utf-8", "replace")
    return said(parsed)


def said(body: object) -> str:
    """What an answer's body says, as text."""
    return "\n\n".join(filter(None, _answers(body))) or _json(body)


def _answers(parsed: Any) -> Iterable[str]:
    if not isinstance(parsed, dict):
        return
    for choice in _objects(parsed.get("choices")):
        message = choice.get("message")
        yield _said(message) if isinstance(message, dict) else _text(choice.get("text"))
    for block in _objects(parsed.get("content")):
        yield _text(block) if block.get("type") in ("text", "thinking") else _json(block)
    for item in _objects(parsed.get("output")):
        yield _said(item) if item.get("type") == "message" else _json(item)
    if isinstance(parsed.get("text"), str):
        yield parsed["text"]
    vector = parsed.get("embedding")
    if isinstance(vector, list):
        shown = ", ".join(str(number) for number in vector[:8])
        yield f"[{shown}, …] ({len(vector)})"


def _objects(value: Any) -> list[dict[str, Any]]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []
