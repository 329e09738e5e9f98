"""The table of a run: goal, ratio, ours, the base, then who takes how many times ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmarks.timing import Row

HEADINGS = ("path", "goal", "ratio", "ours", "base", "times ours")
WIDTHS = (44, 6, 7, 15, 20)


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
    return sorted(names, key=lambda who: times_ours(row, who))


def times_ours(row: Row, who: str) -> float:
    """How many times as long as ours somebody takes."""
    found = row.ratio(who, "ours")
    assert found is not None
    return found.median


def peer(row: Row, who: str) -> str:
    """A peer's part of the last cell."""
    times = times_ours(row, who)
    return f"{times:.{0 if times >= 9.95 else 1 if times >= 0.95 else 2}f}x{calls(row, who)}"


def figure(row: Row, who: str) -> str:
    """What one of them needs: time, or calls a second."""
    seconds = row.seconds(who)
    if row.rate:
        return f"{1 / seconds:,.0f}/s"
    if seconds >= 0.01:
        return f"{seconds * 1e3:,.0f} ms{calls(row, who)}"
    return f"{seconds * 1e6:,.1f} us{calls(row, who)}"


def calls(row: Row, who: str) -> str:
    """How often the provider was asked, where that counts."""
    if who not in row.calls:
        return ""
    least, most = min(row.calls[who]), max(row.calls[who])
    number = str(most) if least == most else f"{least} to {most}"
    return f" ({number} call)" if number == "1" else f" ({number} calls)"


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


def versions(told: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Of each peer's packages."""
    for who, found in told.items():
        packages = ", ".join(f"{package} {version}" for package, version in found.items())
        yield f"{who}: {packages or '-'}"


def notes(told: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """What the peers' scripts say of themselves."""
    for who, texts in told.items():
        for store, text in texts.items():
            yield f"{who}, {store}: {text}" if store else f"{who}: {text}"
