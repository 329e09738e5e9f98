"""Lines over two logarithmic axes, as an SVG file that needs no script and reads well on light and
on dark pages: it brings a ground of its own, and lines differ in dashes and marks as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Final

_WIDTH, _HEIGHT = 840, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 252, 48, 56
_LINE: Final = 15
_LIGHT: Final = (
    "#1b6ec2",
    "#c2571a",
    "#1a7f4b",
    "#8a3fa0",
    "#a8232f",
    "#5f6b00",
    "#3b4a5a",
    "#00708a",
)
_DARK: Final = (
    "#6cb2ff",
    "#f0915a",
    "#4cc38a",
    "#d292e8",
    "#ff8a8a",
    "#c8d24a",
    "#b3c0ce",
    "#55c7e0",
)
_WAY: Final = 'role="img" font-family="system-ui, sans-serif" font-size="12"'
_DASHES: Final = ("", "7 4", "2 4")
_MARKS: Final = (
    '<circle cx="{x}" cy="{y}" r="3.6"/>',
    '<path d="M{x},{y} m-4,3.4 h8 l-4,-7.4 z"/>',
    '<path d="M{x},{y} m-3.4,-3.4 h6.8 v6.8 h-6.8 z"/>',
    '<path d="M{x},{y} m0,-4.8 l4.8,4.8 l-4.8,4.8 l-4.8,-4.8 z"/>',
)


@dataclass(frozen=True)
class Line:
    """Points joined in order.

    Attributes:
        colour: lines of one colour belong together.
        dash: tells them apart; 0 for none.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: int
    dash: int = 0


@dataclass(frozen=True)
class Axis:
    """What an axis measures, and how a number on it is written with its unit."""

    label: str
    show: Callable[[float], str]


def draw(title: str, across: Axis, up: Axis, lines: Sequence[Line]) -> str:
    """The file's text."""
    scale_x = _Scale([x for line in lines for x, _ in line.points], _LEFT, _WIDTH - _RIGHT)
    scale_y = _Scale([y for line in lines for _, y in line.points], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_WAY}>',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(_words(across, up, lines))}</desc>",
        f"<style>{_style(lines)}</style>",
        f'<rect class="ground" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>',
        f'<text class="loud" x="{_LEFT}" y="26" font-size="15">{escape(title)}</text>',
        *_axes(scale_x, scale_y, across, up),
    ]
    for line in lines:
        places = [(scale_x(x), scale_y(y)) for x, y in line.points]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        mark = _MARKS[line.colour % len(_MARKS)]
        parts.append(
            f'<g class="c{line.colour}"><polyline stroke-dasharray="{_DASHES[line.dash]}"'
            f' points="{joined}"/>'
            + "".join(mark.format(x=f"{x:.1f}", y=f"{y:.1f}") for x, y in places)
            + "</g>"
        )
    return "\n".join([*parts, *_names(lines, scale_y), "</svg>"]) + "\n"


def _words(across: Axis, up: Axis, lines: Sequence[Line]) -> str:
    """What is drawn, for those who hear it read."""
    told = (
        f"{line.name}: " + ", ".join(f"{up.show(y)} at {across.show(x)}" for x, y in line.points)
        for line in lines
    )
    return f"{up.label} by {across.label}. {'; '.join(told)}."


class _Scale:
    """Where a number is: whole powers of ten at both ends."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.low = floor(log10(min(values)) + 1e-9)
        self.high = max(self.low + 1, ceil(log10(max(values)) - 1e-9))
        self._start, self._end = start, end

    @property
    def powers(self) -> list[float]:
        """The values that have a line."""
        return [10.0**power for power in range(self.low, self.high + 1)]

    def __call__(self, value: float) -> float:
        share = (log10(value) - self.low) / (self.high - self.low)
        return self._start + share * (self._end - self._start)


def _style(lines: Sequence[Line]) -> str:
    def colours(palette: Sequence[str]) -> str:
        used = sorted({line.colour for line in lines})
        return "".join(f".c{n}{{color:{palette[n % len(palette)]}}}" for n in used)

    return (
        "polyline{fill:none;stroke:currentColor;stroke-width:2}"
        "g>circle,g>path{fill:currentColor}text{fill:#4a4f57}.loud,.name{fill:#14171a}"
        f".ground{{fill:#fff}}.grid{{stroke:#dfe3e8}}.tie{{stroke:#9aa1aa}}{colours(_LIGHT)}"
        "@media (prefers-color-scheme:dark){text{fill:#a9b1bb}.loud,.name{fill:#eef1f4}"
        f".ground{{fill:#15181c}}.grid{{stroke:#30363d}}.tie{{stroke:#69727d}}{colours(_DARK)}}}"
    )


def _axes(scale_x: _Scale, scale_y: _Scale, across: Axis, up: Axis) -> list[str]:
    base, end = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for value in scale_x.powers:
        x = f"{scale_x(value):.1f}"
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{_TOP}" y2="{base}"/>')
        parts.append(_text(x, base + 18, across.show(value), "middle"))
    for value in scale_y.powers:
        y = scale_y(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 8, y + 4, up.show(value), "end"))
    parts.append(_text((_LEFT + end) / 2, _HEIGHT - 14, across.label, "middle"))
    parts.append(_text(_LEFT - 8, _TOP - 10, up.label, "end"))
    return parts


def _text(x: float | str, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _names(lines: Sequence[Line], scale_y: _Scale) -> list[str]:
    """Each line's name beside its end, those that would lie on each other moved apart."""
    ends = sorted((scale_y(line.points[-1][1]), number) for number, line in enumerate(lines))
    places: list[float] = []
    for y, _ in ends:
        places.append(max(y, places[-1] + _LINE) if places else y)
    over = places[-1] - (_HEIGHT - _BOTTOM + 4)
    for number in range(len(places) - 1, -1, -1):  # back up, as far as the last ones are too low
        if over <= 0:
            break
        below = places[number + 1] if number + 1 < len(places) else places[number] - over + _LINE
        places[number] = min(places[number], below - _LINE)
    parts, x = [], _WIDTH - _RIGHT
    for (y, number), place in zip(ends, places, strict=True):
        line = lines[number]
        mark = _MARKS[line.colour % len(_MARKS)].format(x=x + 30, y=f"{place:.1f}")
        parts.append(
            f'<g class="c{line.colour}">'
            f'<line class="tie" x1="{x + 4}" y1="{y:.1f}" x2="{x + 18}" y2="{place:.1f}"/>'
            f'<polyline stroke-dasharray="{_DASHES[line.dash]}"'
            f' points="{x + 20},{place:.1f} {x + 40},{place:.1f}"/>{mark}</g>'
            f'<text class="name" x="{x + 46}" y="{place + 4:.1f}">{escape(line.name)}</text>'
        )
    return parts
