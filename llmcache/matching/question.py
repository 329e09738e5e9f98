"""What is asked, and all that must be equal beside it for one answer to serve two calls.

The question is the text of the last user message. Everything else in the call's key (model,
parameters, system prompt, earlier turns, tools, images, scope, namespace) makes the partition:
two questions can only match inside one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llmcache import keys

_WHERE: Final = {"completion": "messages", "responses": "input", "text_completion": "prompt"}
_TEXTS: Final = frozenset({"text", "input_text"})
_HERE: Final = "the question"
"""Stands in the partition's material where the question's text was: a dict, which no text is."""


@dataclass(frozen=True, slots=True)
class Question:
    """One call as a semantic store sees it.

    Attributes:
        text: of the last user message, as it was written.
        partition: digest of everything else.
    """

    text: str
    partition: str


def read(material: Mapping[str, Any]) -> Question | None:
    """The question of a call; None where no text of a user's can be told apart: another kind of
    call, a key of the caller's own, a last message that is no text.

    Args:
        material: what the call's key is made of (`keys.material`).
    """
    name = _WHERE.get(material["kind"])
    params = material.get("params")
    if name is None or params is None or name not in params:
        return None
    found = _cut(name, params[name])
    if found is None:
        return None
    text, rest = found
    if not text.strip():
        return None
    return Question(text, keys.digest_of({**material, "params": {**params, name: rest}}))


def _cut(name: str, asked: Any) -> tuple[str, Any] | None:
    """The question's text, and what remains."""
    if isinstance(asked, str):
        return None if name == "messages" else (asked, {_HERE: True})
    if name == "prompt" or not isinstance(asked, Sequence):
        return None
    for index in range(len(asked) - 1, -1, -1):
        message = asked[index]
        if isinstance(message, Mapping) and message.get("role") == "user":
            found = _cut_content(message.get("content"))
            if found is None:
                return None
            text, rest = found
            return text, [*asked[:index], {**message, "content": rest}, *asked[index + 1 :]]
    return None


def _cut_content(content: Any) -> tuple[str, Any] | None:
    if isinstance(content, str):
        return content, {_HERE: True}
    if not isinstance(content, Sequence):
        return None
    for index in range(len(content) - 1, -1, -1):
        part = content[index]
        if isinstance(part, Mapping) and part.get("type") in _TEXTS:
            text = part.get("text")
            if not isinstance(text, str):
                return None
            return text, [*content[:index], {**part, "text": {_HERE: True}}, *content[index + 1 :]]
    return None
