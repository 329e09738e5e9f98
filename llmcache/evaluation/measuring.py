"""Runs a matcher over labelled pairs, and says what each threshold would do.

Vectors, vetoes and the judge's words are found once; thresholds are tried on what was found.
Serving is decided as in `llmcache.matching`, but for the search: each pair is looked at alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import floor

from llmcache import events
from llmcache.embedders.base import Embedded
from llmcache.evaluation.intervals import Share
from llmcache.evaluation.rows import Row
from llmcache.matching import Matcher, similarity
from llmcache.matching.question import Question


@dataclass(frozen=True, slots=True)
class Scored:
    """One pair, with what a matcher says of it.

    Attributes:
        similarity: None where a text could not be embedded, or the partitions differ.
        veto: the guard that objects, and why; "" for none.
        judged: what the judge said; None where it was not asked. A failure counts as a no.
    """

    row: Row
    similarity: float | None
    guard: str = ""
    reason: str = ""
    judged: bool | None = None

    def served(self, threshold: float, *, guarded: bool = True) -> bool:
        """Whether the stored answer would serve.

        Args:
            guarded: False for what similarity alone would serve, without guards and judge.
        """
        if self.similarity is None or (guarded and self.guard):
            return False
        if guarded and self.judged is not None:
            return self.judged
        return self.similarity >= threshold


@dataclass(frozen=True, slots=True)
class Figures:
    """What one threshold does: `hits` of the pairs that are the same, `wrong` of those that are
    not.
    """

    threshold: float
    hits: Share
    wrong: Share


@dataclass(slots=True)
class Measured:
    """All pairs, scored.

    Attributes:
        configured: the threshold of the settings.
        guards: how many pairs each guard refuses, by name: (same, not the same).
        not_embedded, apart: pairs without a vector, and pairs in two partitions.
        embed_failures: texts on which the embedder failed; those too long for it are not among
            them.
        judge_failures: pairs on which the judge failed.
    """

    scored: list[Scored]
    configured: float
    not_embedded: int = 0
    apart: int = 0
    embed_failures: int = 0
    judge_failures: int = 0
    guards: dict[str, tuple[int, int]] = field(default_factory=dict)

    def at(self, threshold: float, *, guarded: bool = True) -> Figures:
        """The figures of one threshold."""
        return _figures(self.scored, threshold, guarded)

    def by_category(self, threshold: float) -> dict[str, Figures]:
        """The figures of one threshold for each category, by name."""
        groups: defaultdict[str, list[Scored]] = defaultdict(list)
        for one in self.scored:
            groups[one.row.category].append(one)
        return {name: _figures(groups[name], threshold, True) for name in sorted(groups)}

    def wrong_at(self, threshold: float) -> list[Scored]:
        """The pairs that would be served and must not be, the nearest first."""
        wrong = [one for one in self.scored if not one.row.same and one.served(threshold)]
        return sorted(wrong, key=lambda one: -(one.similarity or 0.0))

    def best(self, most_wrong: float) -> Figures | None:
        """The threshold with the most hits among those that serve at most this share of wrong
        answers; None if there is none. It has as few decimals as do the same.
        """
        curve = self.curve()
        candidates = [figures for figures in curve if _share(figures.wrong) <= most_wrong]
        # Of equal ones the highest: it lets the least through that was not measured.
        best = max(candidates, key=lambda f: (f.hits.count, f.threshold), default=None)
        if best is None:
            return None
        below = max((f.threshold for f in curve if f.threshold < best.threshold), default=-1.0)
        return replace(best, threshold=_shortest(below, best.threshold))

    def curve(self, *, guarded: bool = True) -> list[Figures]:
        """The figures at every threshold that makes a difference, ascending, and at 1."""
        same = _Counts(one for one in self.scored if one.row.same)
        other = _Counts(one for one in self.scored if not one.row.same)
        known = {one.similarity for one in self.scored if one.similarity is not None}
        return [
            Figures(
                threshold,
                Share(same.served(threshold, guarded), same.total),
                Share(other.served(threshold, guarded), other.total),
            )
            for threshold in sorted({*known, 1.0})
        ]


class _Counts:
    """How many of some pairs each threshold serves, found in logarithmic time."""

    def __init__(self, scored: Iterable[Scored]) -> None:
        pairs = list(scored)
        self.total = len(pairs)
        self._raw = sorted(one.similarity for one in pairs if one.similarity is not None)
        self._free = sorted(
            one.similarity
            for one in pairs
            if one.similarity is not None and not one.guard and one.judged is None
        )
        self._judged = sum(bool(one.judged) and not one.guard for one in pairs)

    def served(self, threshold: float, guarded: bool) -> int:
        if not guarded:
            return len(self._raw) - bisect_left(self._raw, threshold)
        return self._judged + len(self._free) - bisect_left(self._free, threshold)


def measure(
    matcher: Matcher,
    rows: Iterable[Row],
    progress: Callable[[int], None] = lambda done: None,
    *,
    guarded: bool = True,
) -> Measured:
    """Score pairs.

    Args:
        progress: told of each pair that is done.
        guarded: False to leave the guards out; the judge stays.
    """
    vectors: dict[str, Embedded | None] = {}
    scored: list[Scored] = []
    guards: dict[str, Counter[bool]] = defaultdict(Counter)
    measured = Measured(scored, matcher.threshold)
    for row in rows:
        one = _score(matcher, row, vectors, measured, guarded)
        if one.guard:
            guards[one.guard][row.same] += 1
        scored.append(one)
        progress(1)
    measured.guards = {name: (found[True], found[False]) for name, found in guards.items()}
    return measured


def _score(
    matcher: Matcher,
    row: Row,
    vectors: dict[str, Embedded | None],
    measured: Measured,
    guarded: bool,
) -> Scored:
    stored, asked = (matcher.question(material) for material in row.materials())
    if stored is None or asked is None or stored.partition != asked.partition:
        measured.apart += 1
        return Scored(row, None, reason="the partitions differ")
    one, other = (_embedded(matcher, q.subject, vectors, measured) for q in (stored, asked))
    if one is None or other is None or one.space != other.space:
        measured.not_embedded += 1
        return Scored(row, None, reason="a text could not be embedded")
    near = similarity(one.data, other.data)
    veto = matcher.refused(asked, stored.prompt) if guarded else None
    if veto is not None:
        return Scored(row, near, veto.guard, veto.reason)
    judged = None
    if matcher.rules.asks_judge(near):
        judged = _judged(matcher, asked, stored, measured)
    return Scored(row, near, judged=judged)


def _embedded(
    matcher: Matcher, text: str, vectors: dict[str, Embedded | None], measured: Measured
) -> Embedded | None:
    if text not in vectors:
        try:
            vectors[text] = matcher.embedder.embed(text)
        except Exception as error:
            events.warn_once("evaluation_error", "A text could not be embedded: %r", error)
            vectors[text] = None
            measured.embed_failures += 1
    return vectors[text]


def _judged(matcher: Matcher, asked: Question, stored: Question, measured: Measured) -> bool:
    assert matcher.judge is not None
    try:
        return matcher.judge.same(matcher.shown(asked.prompt), matcher.shown(stored.prompt))
    except Exception as error:
        events.warn_once("evaluation_error", "The judge failed: %r", error)
        measured.judge_failures += 1
        return False


def _figures(scored: Sequence[Scored], threshold: float, guarded: bool) -> Figures:
    counts = {True: [0, 0], False: [0, 0]}
    for one in scored:
        count = counts[one.row.same]
        count[0] += one.served(threshold, guarded=guarded)
        count[1] += 1
    return Figures(threshold, Share(*counts[True]), Share(*counts[False]))


def _share(share: Share) -> float:
    return share.value or 0.0


def _shortest(below: float, highest: float) -> float:
    """The number of fewest decimals, but at least three, above one number and not above another."""
    for decimals in range(3, 16):
        cut: float = floor(highest * 10**decimals) / 10**decimals
        if below < cut <= highest:
            return cut
    return highest
