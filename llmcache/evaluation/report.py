"""What was measured, as lines of text and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmcache.evaluation.intervals import Share
from llmcache.evaluation.measuring import Figures, Measured

LIMITS = (0.01, 0.05)
"""The shares of wrong answers for which the best thresholds are told."""


def lines(measured: Measured, threshold: float) -> list[str]:
    """A report of aligned columns."""
    at = measured.at(threshold)
    result = [
        f"{at.hits.total} pairs are the same, {at.wrong.total} are not.",
        "Intervals are of 95% (Wilson).",
        "",
        f"At a threshold of {shown(threshold)}:",
    ]
    rows = [("", "pairs", "hits", "wrong"), _row("all", at)]
    groups = measured.by_category(threshold)
    if len(groups) > 1:
        rows += [_row(name or "(none)", figures) for name, figures in groups.items()]
    rows.append(_row("all, similarity alone", measured.at(threshold, guarded=False)))
    result += _table(rows)
    if measured.guards:
        result += ["", "Pairs that guards refuse, at any similarity:"]
        refused = [("", "same", "not the same")]
        for name, (same, other) in sorted(measured.guards.items(), key=lambda item: -item[1][1]):
            refused.append((name, str(same), str(other)))
        result += _table(refused)
    result.append("")
    for limit in LIMITS:
        best = measured.best(limit)
        result.append(f"Best threshold at {limit:.0%} wrong: {_best(best)}")
    for number, what in (
        (measured.apart, "in two partitions, never served"),
        (measured.not_embedded, "that could not be embedded, never served"),
        (measured.judge_failures, "on which the judge failed, never served"),
    ):
        if number:
            result.append(f"Pairs {what}: {number}")
    if measured.embed_failures:
        result.append(f"Texts on which the embedder failed: {measured.embed_failures}")
    return result


def shown(threshold: float) -> str:
    """A threshold with all its decimals, three at least."""
    short = f"{threshold:.3f}"
    return short if float(short) == threshold else str(threshold)


def _best(best: Figures | None) -> str:
    if best is None:
        return "none"
    return f"{shown(best.threshold)}, hits {best.hits}, wrong {best.wrong}"


def _row(name: str, figures: Figures) -> tuple[str, ...]:
    pairs = figures.hits.total + figures.wrong.total
    return name, str(pairs), str(figures.hits), str(figures.wrong)


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [
                f"{first:<{widths[0]}}",
                *(f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)),
            ]
        )
        for first, *rest in rows
    ]


def as_json(measured: Measured, threshold: float) -> dict[str, Any]:
    """The same, as JSON values."""
    groups = measured.by_category(threshold)
    return {
        "pairs": len(measured.scored),
        "configured": measured.configured,
        "at": _figures(measured.at(threshold)),
        "similarity_alone": _figures(measured.at(threshold, guarded=False)),
        "categories": {name: _figures(figures) for name, figures in groups.items()},
        "guards": {
            name: {"same": same, "other": other} for name, (same, other) in measured.guards.items()
        },
        "best": {
            str(limit): None if (best := measured.best(limit)) is None else _figures(best)
            for limit in LIMITS
        },
        "not_embedded": measured.not_embedded,
        "apart": measured.apart,
        "embed_failures": measured.embed_failures,
        "judge_failures": measured.judge_failures,
    }


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "threshold": figures.threshold,
        "hits": _share(figures.hits),
        "wrong": _share(figures.wrong),
    }


def _share(share: Share) -> dict[str, Any]:
    return {
        "count": share.count,
        "total": share.total,
        "share": share.value,
        "low": share.low,
        "high": share.high,
    }
