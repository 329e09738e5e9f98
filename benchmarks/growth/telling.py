"""The measurements as tables in Markdown and as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from benchmarks.growth.drawing import Axis, Line, draw

Figures = Mapping[str, Any]
"""What `benchmarks.scale` has measured, as its JSON has it."""
_PAGES: Final = (
    "entries",
    "entries, the last page",
    "entries of a rare call type",
    "the entry that was asked most",
    "calls that failed",
    "similar pairs",
    "dashboard, 24 hours",
    "dashboard, 90 days",
)
"""Those that are drawn; the table has all of them."""


def number(value: float) -> str:
    """A number on an axis."""
    for size, unit in ((1e6, "million"), (1e3, "thousand")):
        if value >= size:
            return f"{value / size:g} {unit}" if unit == "million" else f"{value:,.0f}"
    return f"{value:g}"


def seconds(value: float) -> str:
    """Seconds in the unit that they are said in."""
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= size * 0.9995:
            shown = value / size
            return f"{shown:,.0f} {unit}" if shown >= 99.5 else f"{shown:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; all columns but the first are numbers."""
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *rows)) + "\n"


def tables(figures: Figures) -> Iterator[tuple[str, str]]:
    """Each part's name and its table."""
    answers = figures.get("answers", {})
    for name, raw, what in (("hit", "raw get", "A hit"), ("set", "raw set", "An entry stored")):
        head = ("store", "entries", "median", "p95", "p99", "the client alone, median")
        rows = [
            (
                *(
                    store,
                    f"{int(size):,}",
                    *(seconds(found[name][p]) for p in ("p50", "p95", "p99")),
                ),
                seconds(found[raw]["p50"]),
            )
            for store, sizes in answers.items()
            for size, found in sizes.items()
        ]
        yield what, table(head, rows)
    ledger = figures.get("ledger", {})
    rows = [
        (
            f"{int(size):,}",
            *(seconds(found["lookup"][p]) for p in ("p50", "p95", "p99")),
            seconds(found["flush"]["p50"]),
        )
        for size, found in ledger.items()
    ]
    head = ("entries", "lookup, median", "p95", "p99", "1,000 records written, median")
    yield "The index", table(head, rows)
    yield "Pages", _pages(ledger)
    yield "Tasks", _tasks(ledger)
    head = ("store", "vectors", "median", "p95", "p99", "nearest found", "one added")
    rows = [
        (
            *(store, f"{int(size):,}"),
            *(seconds(found["search"][p]) for p in ("p50", "p95", "p99")),
            *(f"{found['right']:.1%}", seconds(found["add"])),
        )
        for store, sizes in figures.get("vectors", {}).items()
        for size, found in sizes.items()
    ]
    yield "Searches by meaning", table(head, rows)


def _pages(ledger: Figures) -> str:
    names = next(iter(ledger.values()), {"pages": {}})["pages"]
    rows = [
        (
            name,
            *(seconds(found["pages"][name]["ms"] / 1e3) for found in ledger.values()),
            f"{max(found['pages'][name]['queries'] for found in ledger.values())}",
        )
        for name in names
    ]
    return table(("page", *(f"{int(size):,} rows" for size in ledger), "queries"), rows)


def _tasks(ledger: Figures) -> str:
    rows = [
        (
            *(name, f"{task['table']:,}", f"{task['rows']:,}", seconds(task["seconds"])),
            seconds(task["seconds"] / max(1, task["rows"])),
            seconds(task["waited"]) if task["waited"] else "–",
            f"{task['memory'] / 2**20:.0f} MB",
        )
        for name in dict.fromkeys(name for found in ledger.values() for name in found["tasks"])
        for found in ledger.values()
        if (task := found["tasks"].get(name))
    ]
    head = ("task", "rows in its table", "removed", "in", "one", "a writer waited", "more memory")
    return table(head, rows)


def pictures(figures: Figures) -> Iterator[tuple[str, str]]:
    """Each picture's name and its SVG."""
    answers = figures.get("answers", {})
    for part, what in (("hit", "One hit of completion()"), ("set", "One entry stored")):
        lines = [
            Line(f"{store}, {shown}", _points(sizes, part, share), colour, dash)
            for colour, (store, sizes) in enumerate(answers.items())
            for dash, (share, shown) in enumerate((("p50", "median"), ("p99", "p99")))
        ]
        yield f"growth-{part}s", _drawn(what, "entries in the store", lines)
    ledger = figures.get("ledger", {})
    lines = [
        Line("lookup, median", _points(ledger, "lookup", "p50"), 0),
        Line("lookup, p99", _points(ledger, "lookup", "p99"), 0, 1),
        Line("1,000 records written", _points(ledger, "flush", "p50"), 1),
    ]
    yield "growth-index", _drawn("The index in PostgreSQL", "entries in the index", lines)
    lines = [
        Line(name, [(float(n), found["pages"][name]["ms"] / 1e3) for n, found in ledger.items()], c)
        for c, name in enumerate(_PAGES)
    ]
    yield "growth-pages", _drawn("Pages of the admin", "entries, and as many calls", lines)
    lines = [
        Line(store, _points(sizes, "search", "p50"), colour)
        for colour, (store, sizes) in enumerate(figures.get("vectors", {}).items())
    ]
    yield "growth-vectors", _drawn("One search by meaning, median", "vectors in the store", lines)


def _points(sizes: Figures, part: str, share: str) -> list[tuple[float, float]]:
    return [(float(size), found[part][share]) for size, found in sizes.items()]


def _drawn(title: str, across: str, lines: Sequence[Line]) -> str:
    return draw(title, Axis(across, number), Axis("time", seconds), lines)
