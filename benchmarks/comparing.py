"""How a run differs from an earlier one, and what of that is more than noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.table import figure
from benchmarks.timing import Row, Spread, spread

HEADINGS = ("path", "ratio before", "now", "change", "ours before", "now", "")
WIDTHS = (44, 12, 7, 7, 11, 11)


def differences(before: Sequence[Row], now: Sequence[Row]) -> Iterator[Sequence[str]]:
    """A row of cells for each row of either run.

    The ratio to the base is compared: a machine that was slower as a whole leaves it as it was.
    """
    earlier = {row.name: row for row in before}
    for row in now:
        old = earlier.pop(row.name, None)
        if old is None or old.base != row.base:
            yield (row.name, "", f"{ratio(row).median:.2f}x", "", "", figure(row, "ours"), "new")
            continue
        change = ratio(row).median / ratio(old).median - 1
        yield (
            row.name,
            f"{ratio(old).median:.2f}x",
            f"{ratio(row).median:.2f}x",
            f"{change:+.0%}",
            figure(old, "ours"),
            figure(row, "ours"),
            verdict(ratio(old), ratio(row)),
        )
    for name, old in earlier.items():
        yield (name, f"{ratio(old).median:.2f}x", "", "", figure(old, "ours"), "", "gone")


def costs(
    before: Mapping[str, list[float]], now: Mapping[str, list[float]]
) -> Iterator[Sequence[str]]:
    """As `differences`, for the figures that have no base."""
    for name in sorted({*before, *now}):
        old, new = (spread(run[name]) if name in run else None for run in (before, now))
        told = [f"{one.median:.3g}" if one else "" for one in (old, new)]
        if old and new:
            change = f"{new.median / old.median - 1:+.0%}"
            yield (name, *told, change, "", "", verdict(old, new))
        else:
            yield (name, *told, "", "", "", "new" if new else "gone")


def ratio(row: Row) -> Spread:
    """Of ours to the base."""
    return row.ratio("ours", row.base)


def verdict(before: Spread, now: Spread) -> str:
    """A mark if the middle halves of the two runs' rounds do not even touch, else nothing."""
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
