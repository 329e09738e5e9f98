"""The system checks: what each id means, what it says and how to mend it, read from the sources."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from docs.autoreference.markdown import code, plain, prose

_SOURCES: Final = Path(__file__).parents[2] / "llmcache"
_ID: Final = re.compile(r"llmcache\.[EW]\d{3}")
_MEANING: Final = re.compile(r"^ *(llmcache\.[EW]\d{3})   (.+)$", re.MULTILINE)
_KINDS: Final = ("Error", "Warning")
_ANYTHING: Final = "…"


class Message(NamedTuple):
    """What a check says, and its hint; parts that depend on the site are an ellipsis."""

    text: str
    hint: str


def listed() -> str:
    """A section for each id, errors first."""
    said = messages()
    return "\n\n".join(
        _section(check, meaning, said.get(check, [])) for check, meaning in meanings().items()
    )


def meanings() -> dict[str, str]:
    """The ids that the docstrings of modules list, and what they mean there."""
    found = {}
    for tree in _trees():
        found.update(_MEANING.findall(ast.get_docstring(tree, clean=False) or ""))
    return dict(sorted(found.items()))


def _section(check: str, meaning: str, messages: list[Message]) -> str:
    kind = "Error" if check.startswith("llmcache.E") else "Warning"
    lines = [f"### {code(check)}", f"{kind}: {prose(meaning)}."]
    for text, hint in messages:
        lines += [f"> {plain(text)}", f"What to do: {plain(hint)}"]
    if not messages:
        lines.append("The message names the key, what is there, and what should be.")
    return "\n\n".join(lines)


def _trees() -> Iterator[ast.Module]:
    for path in sorted(_SOURCES.rglob("*.py")):
        text = path.read_text()
        if _ID.search(text):
            yield ast.parse(text)


def messages() -> dict[str, list[Message]]:
    """What each id says, read from where it is said."""
    found: defaultdict[str, list[Message]] = defaultdict(list)
    for tree in _trees():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            given = {each.arg: each.value for each in node.keywords}
            check, hint = given.get("id"), given.get("hint")
            # Without both, the text is that of an exception.
            if node.func.id in _KINDS and isinstance(check, ast.Constant) and hint is not None:
                found[check.value].append(Message(_text(node.args[0]), _text(hint)))
    return found


def _text(node: ast.expr) -> str:
    """A string, with an ellipsis for each part of an f-string that is not written there."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    return _ANYTHING
