"""How a run differs from an earlier one, and what of that is more than noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.table import figure
from benchmarks.timing import Row, Spread, spread

HEADINGS = ("path", "ratio before", "now", "change", "ours before", "now", "")
WIDTHS = (44, 12, 7, 7, 15, 15)
SMALLEST = 0.03  # a change below is not told of: where memory lies differs from run to run


def differences(before: Sequence[Row], now: Sequence[Row]) -> Iterator[Sequence[str]]:
    """A row of cells for each row of either run.

    The ratio to the base is compared: a machine that was slower as a whole leaves it as it was.
    """
    earlier = {row.name: row for row in before}
    later = {row.name: row for row in now}
    for name in {**later, **earlier}:
        old, new = earlier.get(name), later.get(name)
        yield (
            name,
            *compared(
                old and old.ratio("ours", old.base), new and new.ratio("ours", new.base), "x"
            ),
            figure(old, "ours") if old else "",
            figure(new, "ours") if new else "",
            mark(old, new),
        )


def mark(old: Row | None, new: Row | None) -> str:
    """What to say of a row."""
    if old is None or new is None:
        return "new" if new else "gone"
    if old.base != new.base:
        return "another base"
    return verdict(old.ratio("ours", old.base), new.ratio("ours", new.base))


def costs(
    before: Mapping[str, list[float]], now: Mapping[str, list[float]]
) -> Iterator[Sequence[str]]:
    """As `differences`, for the figures that have no base."""
    for name in {**now, **before}:
        old, new = (spread(run[name]) if name in run else None for run in (before, now))
        gone = "" if old and new else "new" if new else "gone"
        yield (name, *compared(old, new), "", "", gone or verdict(old, new))


def compared(old: Spread | None, new: Spread | None, unit: str = "") -> Sequence[str]:
    """Before, now, and the change."""
    return (
        f"{old.median:.3g}{unit}" if old else "",
        f"{new.median:.3g}{unit}" if new else "",
        f"{new.median / old.median - 1:+.0%}" if old and new else "",
    )


def verdict(before: Spread | None, now: Spread | None) -> str:
    """A mark if the middle halves of the two runs' rounds do not even touch, else nothing."""
    if before is None or now is None:
        return "no base"
    if abs(now.median / before.median - 1) < SMALLEST:
        return ""
    if now.low > before.high:
        return "SLOWER"
    if now.high < before.low:
        return "faster"
    return ""


def line(texts: Sequence[str]) -> str:
    """In columns, for a terminal."""
    padded = [
        text.rjust(width) if number else text.ljust(width)
        for number, (text, width) in enumerate(zip(texts, WIDTHS, strict=False))
    ]
    return "  ".join([*padded, texts[-1]]).rstrip()
