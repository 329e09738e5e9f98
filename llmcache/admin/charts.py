"""Charts as shapes for a template to draw in SVG: no script, no inline style, nothing marked safe.

A chart knows nothing of calls or money: it takes numbers and says where to draw what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log10
from typing import Final

WIDTH: Final = 540
HEIGHT: Final = 190
_LEFT: Final = 56
_RIGHT: Final = 8
_TOP: Final = 10
_BOTTOM: Final = 24
_LETTER: Final = 7  # the most that a letter of a label is wide
_MOST_LABELS: Final = 5
_GRID_LINES: Final = 4
_TEXTURES: Final = {
    "llmcache-miss": "M-1,1 l2,-2 M0,6 l6,-6 M5,7 l2,-2",
    "llmcache-bypass": "M2,3 h2",
    "llmcache-failed": "M0,0 l6,6 M6,0 l-6,6",
}


@dataclass(frozen=True, slots=True)
class Series:
    """One row of numbers, None where there is none; `name` is for people, `css` for the colour."""

    name: str
    css: str
    values: Sequence[float | None]

    @property
    def texture(self) -> str:
        """What its bars are strewn with in squares of 6 by 6, so that they differ without colour:
        a path, "" for plain.
        """
        return _TEXTURES.get(self.css, "")


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle; `title` is what a pointer over it, or a screen reader, is told."""

    x: str
    y: str
    width: str
    height: str
    css: str
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    """Connected points, as SVG's `points` takes them."""

    points: str
    css: str


@dataclass(frozen=True, slots=True)
class Dot:
    """One point of a line, for its title, or because it has no neighbours to be joined to."""

    x: str
    y: str
    css: str
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at a place on an axis."""

    at: str
    label: str


@dataclass(slots=True)
class Chart:
    """What a template draws. Places are in the units of the view box."""

    title: str
    description: str
    legend: Sequence[Series]
    across: list[Tick] = field(default_factory=list)
    up: list[Tick] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    is_empty: bool = False

    view_box: str = f"0 0 {WIDTH} {HEIGHT}"
    left: str = str(_LEFT)
    right: str = str(WIDTH - _RIGHT)
    base: str = str(HEIGHT - _BOTTOM)
    label_base: str = str(HEIGHT - 6)


Format = Callable[[float], str]


def stacked_bars(
    title: str, description: str, labels: Sequence[str], series: Sequence[Series], show: Format
) -> Chart:
    """Bars of several parts above each other, one bar a label."""
    totals = [sum(row.values[i] or 0 for row in series) for i in range(len(labels))]
    chart = Chart(title, description, series, is_empty=not any(totals))
    top = _axes(chart, labels, max(totals, default=0), show)
    slot = _slot(labels)
    for index, label in enumerate(labels):
        height_so_far = 0.0
        for row in series:
            value = row.values[index] or 0
            if value:
                height = value / top * _plot_height()
                height_so_far += height
                chart.bars.append(
                    Bar(
                        _text(_LEFT + index * slot + slot * 0.1),
                        _text(HEIGHT - _BOTTOM - height_so_far),
                        _text(slot * 0.8),
                        _text(height),
                        row.css,
                        f"{label}: {row.name} {show(value)}",
                    )
                )
    return chart


def lines(
    title: str, description: str, labels: Sequence[str], series: Sequence[Series], show: Format
) -> Chart:
    """A line for each series, broken where it has no number."""
    known = [value for row in series for value in row.values if value is not None]
    chart = Chart(title, description, series, is_empty=not known)
    top = _axes(chart, labels, max(known, default=0), show)
    _draw_lines(chart, labels, series, show, lambda value: value / top)
    return chart


def log_lines(
    title: str, description: str, labels: Sequence[str], series: Sequence[Series], show: Format
) -> Chart:
    """As `lines`, with each power of ten as high as the next: for numbers far apart."""
    known = [value for row in series for value in row.values if value]
    chart = Chart(title, description, series, is_empty=not known)
    if not known:
        _axes(chart, labels, 0, show)
        return chart
    lowest = floor(log10(min(known)))
    highest = max(lowest + 1, ceil(log10(max(known)) - 1e-9))
    powers = highest - lowest
    _label_across(chart, labels)
    for number in range(powers + 1):
        y = HEIGHT - _BOTTOM - number / powers * _plot_height()
        chart.up.append(Tick(_text(y), show(10.0 ** (lowest + number))))
    _make_room(chart)
    _draw_lines(chart, labels, series, show, lambda value: (log10(value) - lowest) / powers)
    return chart


def _draw_lines(
    chart: Chart,
    labels: Sequence[str],
    series: Sequence[Series],
    show: Format,
    height_of: Callable[[float], float],
) -> None:
    slot = _slot(labels)
    for row in series:
        run: list[str] = []
        for index, value in enumerate([*row.values, None]):
            if value is None:
                if len(run) > 1:
                    chart.lines.append(Line(" ".join(run), row.css))
                run = []
                continue
            x = _text(_LEFT + (index + 0.5) * slot)
            y = _text(HEIGHT - _BOTTOM - height_of(value) * _plot_height())
            run.append(f"{x},{y}")
            chart.dots.append(Dot(x, y, row.css, f"{labels[index]}: {row.name} {show(value)}"))


def _plot_height() -> float:
    return HEIGHT - _TOP - _BOTTOM


def _slot(labels: Sequence[str]) -> float:
    return (WIDTH - _LEFT - _RIGHT) / max(1, len(labels))


def _axes(chart: Chart, labels: Sequence[str], most: float, show: Format) -> float:
    """Put labels on the axes; the value at the top of the chart."""
    step = _round_step(most / _GRID_LINES) if most else 1.0
    if isinstance(most, int):
        step = max(1.0, step)  # between whole numbers there is nothing to label
    lines_up = max(1, ceil(most / step - 1e-9))
    top = step * lines_up
    for number in range(lines_up + 1):
        y = HEIGHT - _BOTTOM - number / lines_up * _plot_height()
        chart.up.append(Tick(_text(y), show(step * number)))
    _make_room(chart)
    _label_across(chart, labels)
    return top


def _make_room(chart: Chart) -> None:
    """Let long labels stand where they are, and the view begin before them."""
    longest = max(len(tick.label) for tick in chart.up)
    more = max(0, longest * _LETTER + _RIGHT - _LEFT)
    chart.view_box = f"{-more} 0 {WIDTH + more} {HEIGHT}"


def _label_across(chart: Chart, labels: Sequence[str]) -> None:
    every = max(1, ceil(len(labels) / _MOST_LABELS))
    slot = _slot(labels)
    chart.across += [
        Tick(_text(_LEFT + (index + 0.5) * slot), label)
        for index, label in enumerate(labels)
        if index % every == 0
    ]


def _round_step(least: float) -> float:
    """The next number up that is 1, 2 or 5 times a power of ten: a label tells it in one digit."""
    power = 10.0 ** floor(log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * 0.999)


def _text(place: float) -> str:
    """A coordinate as SVG wants it, whatever the site's language thinks of decimal points."""
    return f"{place:.1f}"
