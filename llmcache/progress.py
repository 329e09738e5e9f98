"""A progress bar of plain text for terminals; silent everywhere else."""

from __future__ import annotations

from time import monotonic
from types import TracebackType
from typing import Final, Self, TextIO

_WIDTH: Final = 30
_PAUSE: Final = 0.1  # seconds between two drawings


class Bar:
    """Counts what is done, on one line of a terminal that is wiped at the end.

    Args:
        out: where to draw, if it is a terminal.
        what: what is counted, in the plural.
        total: of how many; None where nobody knows.
    """

    def __init__(self, out: TextIO, what: str, total: int | None = None) -> None:
        self._out = out
        self._what = what
        self._total = total
        self._shown = bool(getattr(out, "isatty", lambda: False)())
        self._done = 0
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown and self._drawn_at:
            self._out.write("\r\x1b[K")
            self._out.flush()

    def advance(self, number: int = 1) -> None:
        """So many more are done."""
        self._done += number
        if self._shown and monotonic() - self._drawn_at >= _PAUSE:
            self._drawn_at = monotonic()
            self._out.write(f"\r\x1b[K{self._line()}")
            self._out.flush()

    def _line(self) -> str:
        if not self._total:
            return f"{self._done:,} {self._what}"
        share = min(1.0, self._done / self._total)
        full = round(share * _WIDTH)
        bar = "#" * full + "." * (_WIDTH - full)
        return f"[{bar}] {share:4.0%}  {self._done:,} of {self._total:,} {self._what}"
