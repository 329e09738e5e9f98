"""A guard against other questions about the same thing: when and where, must I and may I."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from llmcache.backends.semantic.guards.base import Guard
from llmcache.backends.semantic.guards.reading import Reading

_ASKED_FOR: Final = {
    "why": "reason",
    "when": "time",
    "where": "place",
    "who": "person",
    "whom": "person",
    "whose": "person",
    "how": "way",
}
_ASKED_FOR_BY_TWO: Final = {
    ("what", "time"): "time",
    ("what", "date"): "time",
    ("what", "day"): "time",
    ("which", "day"): "time",
    ("what", "place"): "place",
    ("how", "come"): "reason",
    ("how", "soon"): "time",
    ("how", "quickly"): "time",
    ("how", "much"): "amount",
    ("how", "many"): "amount",
    ("how", "long"): "amount",
    ("how", "often"): "amount",
    ("how", "far"): "amount",
}
# Whoever asks how to get somewhere may as well ask where it is.
_APART: Final = frozenset(
    frozenset(pair)
    for pair in (
        ("reason", "time"),
        ("reason", "place"),
        ("reason", "person"),
        ("reason", "way"),
        ("time", "place"),
        ("time", "person"),
        ("place", "person"),
    )
)
_DUTY: Final = frozenset({"must", "mandatory", "compulsory", "obligatory", "required"})
_DUTY_BY_TWO: Final = frozenset(
    [("have", "to"), ("has", "to"), ("need", "to"), ("needs", "to"), ("obliged", "to")]
)
_LEAVE: Final = frozenset({"can", "may", "could", "allowed", "permitted", "possible"})


class AimGuard(Guard):
    """The prompts ask for something else: why against how, when against where, what one must do
    against what one may.
    """

    name = "aim"

    def objection(self, asked: Reading, stored: Reading) -> str:
        mine, theirs = _asked_for(asked.words), _asked_for(stored.words)
        if mine and theirs:
            if all(_apart(one, theirs) for one in mine):
                return f"{min(mine)} against {min(theirs)}"
        elif not mine and not theirs and _modality(asked.words) ^ _modality(stored.words) == _BOTH:
            return "what must be against what may be"
        return ""


def _asked_for(words: Sequence[str]) -> frozenset[str]:
    pairs = [*pairwise(words), (words[-1], "")] if words else []
    found = (_ASKED_FOR_BY_TWO.get(pair) or _ASKED_FOR.get(pair[0]) for pair in pairs)
    return frozenset(kind for kind in found if kind)


def _apart(one: str, others: Iterable[str]) -> bool:
    return all(frozenset({one, other}) in _APART for other in others)


_BOTH: Final = 3


def _modality(words: Sequence[str]) -> int:
    """Bit 1 for a duty, bit 2 for a leave."""
    duty = not _DUTY.isdisjoint(words) or not _DUTY_BY_TWO.isdisjoint(pairwise(words))
    return duty | (not _LEAVE.isdisjoint(words)) << 1
