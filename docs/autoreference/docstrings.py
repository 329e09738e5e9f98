"""The parts of docstrings that name things one by one: `OPTIONS:`, `Attributes:` and their like."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import Final, NamedTuple

_ITEM: Final = re.compile(r"(\w+(?:, \w+)*)(?: \(([^)]+)\))?: (.*)")


class Item(NamedTuple):
    """Names that share a meaning, what their values are ("" if that is not said), and the
    meaning."""

    names: tuple[str, ...]
    kind: str
    meaning: str


def items(owner: object, section: str) -> list[Item]:
    """What a section of an object's own docstring names; nothing if it has no such section.

    Raises:
        ValueError: something in the section names nothing.
    """
    text = inspect.cleandoc(vars(owner).get("__doc__") or "")
    found = re.search(rf"^{section}:\n((?: .*\n?|\n)*)", text, re.MULTILINE)
    if found is None:
        return []
    result = []
    for entry in re.split(r"\n(?=\S)", textwrap.dedent(found[1]).strip()):
        match = _ITEM.fullmatch(" ".join(entry.split()))
        if match is None:
            raise ValueError(f"{owner}: {section} has {entry!r}, which names nothing")
        result.append(Item(tuple(match[1].split(", ")), match[2] or "", match[3]))
    return result


def summary(owner: object) -> str:
    """The first paragraph of an object's docstring, on one line."""
    text = inspect.cleandoc(getattr(owner, "__doc__", None) or "")
    return " ".join(text.partition("\n\n")[0].split())
