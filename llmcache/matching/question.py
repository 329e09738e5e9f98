"""What is asked, and all that must be equal beside it for one answer to serve two calls.

The question is the text of the last user message. Everything else in the call's key (model,
parameters, system prompt, earlier turns, tools, images, scope, namespace) makes the partition:
two questions can only match inside one. Where a store's `history` is "similar", what user and
assistant have said before is compared by `llmcache.matching.history` and is not in the partition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from llmcache import keys
from llmcache.matching import history
from llmcache.matching.history import Turn

_WHERE: Final = {
    "completion": "messages",
    "messages": "messages",
    "responses": "input",
    "text_completion": "prompt",
}
_TEXTS: Final = frozenset({"text", "input_text"})
_HERE: Final = "the question"
"""Stands in the partition's material where the question's text was: a dict, which no text is."""


@dataclass(frozen=True, slots=True)
class Question:
    """One call as a semantic store sees it.

    Attributes:
        text: of the last user message, as it was written.
        partition: digest of everything else.
        turns: what was said, the last message included, where histories need not be equal; else
            empty.
    """

    text: str
    partition: str
    turns: tuple[Turn, ...] = ()

    @property
    def subject(self) -> str:
        """The text to embed."""
        return history.condense(self.turns) if self.turns else self.text

    @property
    def prompt(self) -> str:
        """What a store keeps of the question; `turns_of` reads it again."""
        return orjson.dumps(self.turns).decode() if self.turns else self.text


def turns_of(prompt: str) -> list[Turn] | None:
    """What was said, of a `Question.prompt` with turns; None if it is none."""
    try:
        turns = [(role, text) for role, text in orjson.loads(prompt)]
    except (ValueError, TypeError):
        return None
    if not turns or not all(isinstance(part, str) for turn in turns for part in turn):
        return None
    return turns


def transcript(prompt: str, *, with_turns: bool) -> str:
    """A kept prompt as people read it."""
    turns = turns_of(prompt) if with_turns else None
    if turns is None:
        return prompt
    if len(turns) == 1:
        return turns[0][1]
    return "\n".join(f"{role}: {text}" for role, text in turns)


def read(material: Mapping[str, Any], *, with_turns: bool = False) -> Question | None:
    """The question of a call; None where no text of a user's can be told apart: another kind of
    call, a key of the caller's own, a last message that is no text.

    Args:
        material: what the call's key is made of (`keys.material`).
        with_turns: whether what was said before is to be compared, rather than to be equal.
    """
    name = _WHERE.get(material["kind"])
    params = material.get("params")
    if name is None or params is None or name not in params:
        return None
    found = _cut(name, params[name])
    if found is None:
        return None
    text, rest, position = found
    if not text.strip():
        return None
    turns: tuple[Turn, ...] = ()
    if with_turns:
        turns, rest = _said(text, rest, position)
    try:
        partition = keys.digest_of({**material, "params": {**params, name: rest}})
    except keys.Uncacheable:
        return None
    return Question(text, partition, turns)


def _said(text: str, rest: Any, position: int) -> tuple[tuple[Turn, ...], Any]:
    """What user and assistant have said before the question, and what remains without it."""
    said: list[Turn] = []
    left: list[Any] = ["turns"]  # no partition of the other way is equal to one of this
    for index, message in enumerate(rest if isinstance(rest, list) else [rest]):
        role = content = None
        if isinstance(message, Mapping) and message.keys() == {"role", "content"}:
            role, content = message["role"], message["content"]
        if index < position and role in ("user", "assistant") and isinstance(content, str):
            said.append((role, content))
        else:
            left.append(message)
    return (*said, ("user", text)), left


def _cut(name: str, asked: Any) -> tuple[str, Any, int] | None:
    """The question's text, what remains, and after how many messages the question comes."""
    if isinstance(asked, str):
        return None if name == "messages" else (asked, {_HERE: True}, 0)
    if name == "prompt" or not isinstance(asked, Sequence):
        return None
    for index in range(len(asked) - 1, -1, -1):
        message = asked[index]
        if isinstance(message, Mapping) and message.get("role") == "user":
            found = _cut_content(message.get("content"))
            if found is None:
                return None
            text, rest = found
            left = [*asked[:index], {**message, "content": rest}, *asked[index + 1 :]]
            return text, left, index
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
