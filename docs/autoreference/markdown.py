"""Markdown of what the other modules have found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

_CODE: Final = re.compile(
    r"""
      \[[^\]`]*"[^\]`]*\]              # ["https://app.example.com"]
    | \{[^{}`]*(?:\{[^{}`]*\}[^{}`]*)*\}  # {"BACKEND": ..., "OPTIONS": {...}}
    | "[^"`]*"
    | \b[A-Z]{2,}(?:_[A-Z]+)+\b        # REDIS_URL
    """,
    re.VERBOSE,
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def plain(text: str) -> str:
    """A text in which nothing is Markdown."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", text)


def code(text: str) -> str:
    """A text as code."""
    return f"`{text}`"


def value(given: Any) -> str:
    """A default as code, its thousands apart where there are many."""
    if type(given) in (int, float) and 10_000 <= given < 1e15:
        return code(f"{given:_}")
    return code(f'"{given}"' if isinstance(given, str) else repr(given))


def prose(text: str) -> str:
    """A docstring's text, in which what is code becomes so: strings, objects, names in capitals."""
    parts = text.split("`")
    parts[::2] = [_CODE.sub(lambda found: code(found[0]), part) for part in parts[::2]]
    return "`".join(parts)
