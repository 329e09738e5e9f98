"""Hits and wrong answers over thresholds, as an SVG file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil
from typing import Final

from llmcache.evaluation.measuring import Figures, Measured
from llmcache.evaluation.report import shown

_WIDTH: Final = 720
_HEIGHT: Final = 400
_LEFT: Final = 52
_RIGHT: Final = 16
_TOP: Final = 48
_BOTTOM: Final = 44
_MOST_POINTS: Final = 300
_ATTRIBUTES: Final = 'xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title desc"'
_STYLE: Final = """
  svg { background: #fff; color: #333; font: 12px system-ui, sans-serif }
  text { fill: currentColor } .grid { stroke: currentColor; opacity: .18 }
  polyline { fill: none; stroke-width: 2; stroke-linejoin: round }
  .hits { stroke: #1a7f4b } .wrong { stroke: #c2571a } .bare { stroke-dasharray: 2 4 }
  .mark { stroke: currentColor; stroke-dasharray: 6 3 }
  @media (prefers-color-scheme: dark) {
    svg { background: #16181b; color: #d5d8dc } .hits { stroke: #4cc38a } .wrong { stroke: #f0915a }
  }
"""


def svg(measured: Measured, threshold: float) -> str:
    """The curve as the text of an SVG file; it has no script and loads nothing.

    Args:
        threshold: the one to mark.
    """
    guarded, bare = measured.curve(), measured.curve(guarded=False)
    first = min((figures.threshold for figures in guarded), default=0.0)
    first = min(first, threshold, 0.99)
    at = measured.at(threshold)
    lines = (
        ("hits", "hits", guarded),
        ("wrong", "wrong", guarded),
        ("hits bare", "hits", bare),
        ("wrong bare", "wrong", bare),
    )
    described = (
        f"Over {len(measured.scored)} pairs, at a threshold of {shown(threshold)}: "
        f"hits {at.hits}, wrong {at.wrong}. Dotted: by similarity alone."
    )
    parts = [
        f'<svg {_ATTRIBUTES} viewBox="0 0 {_WIDTH} {_HEIGHT}">',
        '<title id="title">Hits and wrong answers over the threshold</title>',
        f'<desc id="desc">{escape(described)}</desc>',
        f"<style>{_STYLE}</style>",
        *_grid(first),
        *(_line(css, name, curve, first) for css, name, curve in lines),
        _mark(threshold, first),
        *_legend(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _x(threshold: float, first: float) -> float:
    return _LEFT + (threshold - first) / (1 - first) * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _grid(first: float) -> list[str]:
    parts = []
    for step in range(5):
        share = step / 4
        y = _y(share)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>'
        )
        threshold = first + share * (1 - first)
        parts.append(
            f'<text x="{_x(threshold, first):.1f}" y="{_HEIGHT - _BOTTOM + 18}" '
            f'text-anchor="middle">{threshold:.2f}</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">threshold</text>')
    return parts


def _line(css: str, name: str, curve: Sequence[Figures], first: float) -> str:
    """A line of steps: between two thresholds that make a difference, nothing changes."""
    every = max(1, ceil(len(curve) / _MOST_POINTS))
    kept = [figures for index, figures in enumerate(curve) if index % every == 0]
    points: list[tuple[str, str]] = []
    x = f"{_LEFT:.1f}"
    for figures in [*kept, *curve[-1:]]:
        share = figures.hits if name == "hits" else figures.wrong
        y = f"{_y(share.value or 0.0):.1f}"
        if not points or points[-1][1] != y:
            points.append((x, y))  # what is served changes just above the threshold before
        x = f"{_x(figures.threshold, first):.1f}"
        if len(points) > 1 and points[-2][1] == y:
            points.pop()
        points.append((x, y))
    return f'<polyline class="{css}" points="{" ".join(map(",".join, points))}"/>'


def _mark(threshold: float, first: float) -> str:
    x = _x(threshold, first)
    return (
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
        f'<text x="{x:.1f}" y="{_TOP - 6}" text-anchor="middle">{shown(threshold)}</text>'
    )


def _legend() -> list[str]:
    parts = []
    names = (
        ("hits", "hits"),
        ("wrong", "wrong"),
        ("hits bare", "hits by similarity alone"),
        ("wrong bare", "wrong by similarity alone"),
    )
    x = _LEFT
    for css, name in names:
        parts.append(
            f'<polyline class="{css}" points="{x},16 {x + 24},16"/>'
            f'<text x="{x + 30}" y="20">{name}</text>'
        )
        x += 62 + 7 * len(name)
    return parts
