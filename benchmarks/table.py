"""The table of a run: goal, ratio, ours, the base, then who takes how many times ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmarks.timing import Row

HEADINGS = ("path", "goal", "ratio", "ours", "base", "times ours")
WIDTHS = (44, 5, 7, 11, 24)


def cells(row: Row) -> Sequence[str]:
    """A row's."""
    times = row.ratio("ours", row.base)
    return (
        row.name,
        row.goal,
        f"{times.median:.2f}x" if times else "-",
        figure(row, "ours"),
        f"{figure(row, row.base) if times else '-'} {row.base}",
        ", ".join(f"{who} {peer(row, who)}" for who in others(row)) or "-",
    )


def others(row: Row) -> list[str]:
    """Those beside ours and the base, the quickest first."""
    names = [who for who in row.rounds if who not in ("ours", row.base)]
    return sorted(names, key=row.seconds)


def peer(row: Row, who: str) -> str:
    """How many times ours somebody takes, and their calls of the provider."""
    found = row.ratio(who, "ours")
    assert found is not None
    times = found.median
    asked = f" ({row.calls[who]:.0f} calls)" if who in row.calls else ""
    return f"{times:.{0 if times >= 9.95 else 1 if times >= 0.95 else 2}f}x{asked}"


def figure(row: Row, who: str) -> str:
    """What one of them needs: time, or calls a second."""
    seconds = row.seconds(who)
    asked = f" ({row.calls[who]:.0f})" if who in row.calls else ""
    if row.rate:
        return f"{1 / seconds:,.0f}/s"
    if seconds >= 0.01:
        return f"{seconds * 1e3:,.0f} ms{asked}"
    return f"{seconds * 1e6:,.1f} us{asked}"


def line(texts: Sequence[str]) -> str:
    """In columns, for a terminal."""
    padded = [
        text.ljust(width) if number in (0, 4) else text.rjust(width)
        for number, (text, width) in enumerate(zip(texts, WIDTHS, strict=False))
    ]
    return "  ".join([*padded, *texts[len(WIDTHS) :]])


def markdown(rows: Iterable[Row]) -> Iterator[str]:
    """The table as the documentation has it."""
    for texts in (HEADINGS, ["---"] * len(HEADINGS), *map(cells, rows)):
        yield f"| {' | '.join(texts)} |"


def gaps(rows: Iterable[Row]) -> Iterator[str]:
    """Who has no figure where, and why: a line for each reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for who, reason in row.missing.items():
            found.setdefault((who, reason), []).append(row.name)
    for (who, reason), names in sorted(found.items()):
        yield f"{who}: {reason} ({'; '.join(names)})"


def notes(told: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """What the peers' scripts say of themselves."""
    for who, texts in told.items():
        for store, text in texts.items():
            yield f"{who}, {store}: {text}" if store else f"{who}: {text}"
