"""The progress bar: what it draws where, and that it leaves nothing behind."""

from __future__ import annotations

from io import StringIO

import pytest

from llmcache.progress import Bar


class Terminal(StringIO):
    """Text that goes to a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("total", "line"),
    [
        (None, "1,234 calls"),
        (0, "1,234 calls"),
        (2468, f"[{'#' * 15}{'.' * 15}]  50%  1,234 of 2,468 calls"),
        (1000, f"[{'#' * 30}] 100%  1,234 of 1,000 calls"),  # more came than were counted
    ],
)
def test_it_shows_what_is_done_and_of_how_many_if_that_is_known(
    total: int | None, line: str
) -> None:
    out = Terminal()
    with Bar(out, "calls", total) as bar:
        bar.advance(1234)
        assert out.getvalue() == f"\r\x1b[K{line}"
    assert out.getvalue().endswith("\r\x1b[K")


def test_where_nobody_watches_it_draws_nothing() -> None:
    out = StringIO()
    with Bar(out, "calls", 2) as bar:
        bar.advance()
    with Bar(Terminal(), "calls", 2) as bar:
        pass
    assert out.getvalue() == ""
