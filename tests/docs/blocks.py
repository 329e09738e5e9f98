"""The blocks of code in the documentation's pages, as they stand there."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = {
    **{path.stem: path for path in sorted((ROOT / "docs").glob("*.md"))},
    **{name: ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING")},
}
_FENCE: Final = re.compile(
    r"""
    (?:^<!--\ not\ run:\ (?P<why>[^\n]+)\ -->\n)?
    ^(?P<indent>\ *)```(?P<info>[^\n`]+)\n
    (?P<body>.*?)
    ^(?P=indent)```$
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_OPTION: Final = re.compile(r":(\w+): (.+)\n")
NO_CODE: Final = frozenset({"text"})
"""What programs print, and the like: words that nobody is to type."""


@dataclass(frozen=True)
class Block:
    """One block of code.

    Attributes:
        line: of the page, that its first line is.
        language: as the fence names it.
        file: the name of the file that it is, or "".
        why_not: why no test runs it; "" where one does.
    """

    page: str
    line: int
    language: str
    file: str
    code: str
    why_not: str

    @property
    def place(self) -> str:
        return f"{self.page}.md, line {self.line}"


def blocks(page: str) -> list[Block]:
    """The code of a page, from its top."""
    return list(_blocks(page))


def _blocks(page: str) -> Iterator[Block]:
    text = PAGES[page].read_text()
    for found in _FENCE.finditer(text):
        language, body, file = found["info"].strip(), textwrap.dedent(found["body"]), ""
        line = text.count("\n", 0, found.start("body")) + 1
        if language.startswith("{code-block} "):
            language = language.removeprefix("{code-block} ")
            while option := _OPTION.match(body):
                file = option[2] if option[1] == "caption" else file
                body = body[option.end() :]
                line += 1
        if language.startswith("{") or language in NO_CODE:
            continue
        if language == "python" and (named := re.match(r"# ([\w/]+\.py)\n", body)):
            file = named[1]
        yield Block(page, line, language, file, body, found["why"] or "")
