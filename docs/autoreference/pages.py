"""Links to pages that may not be there: those with figures of measurements are made apart."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PAGES: Final = Path(__file__).parents[1]


def toctree(caption: str, *names: str) -> str:
    """A list of those pages that are there; nothing if none is."""
    there = [name for name in names if _is_there(name)]
    if not there:
        return ""
    return "\n".join(["```{toctree}", f":caption: {caption}", "", *there, "```"])


def link(name: str, *words: str) -> str:
    """A line with a link to a page, if that is there.

    Args:
        words: Markdown, in which LINK stands for the page's address.
    """
    return " ".join(words).replace("LINK", f"{name}.md") if _is_there(name) else ""


def _is_there(name: str) -> bool:
    return (_PAGES / f"{name}.md").is_file()
