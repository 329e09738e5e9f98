"""Guards against opposite questions: one side says no, or says the opposite."""

from __future__ import annotations

from typing import Final

from llmcache.backends.semantic.guards.base import Guard
from llmcache.backends.semantic.guards.lexicon.grammar import WEAK_NEGATIVES
from llmcache.backends.semantic.guards.lexicon.opposites import NEGATIVE_PREFIXES, OPPOSITES
from llmcache.backends.semantic.guards.reading import Reading, stem

_WEAK: Final = frozenset(map(stem, WEAK_NEGATIVES))
_OPPOSITES: Final = frozenset((stem(one), stem(other)) for one, other in OPPOSITES)
_LEAST_BASE: Final = 4


class NegationGuard(Guard):
    """One prompt is negated, the other is neither negated nor negative by its words."""

    name = "negation"

    def objection(self, asked: Reading, stored: Reading) -> str:
        if bool(asked.negators) == bool(stored.negators):
            return ""
        plain = stored if asked.negators else asked
        if plain.stems & _WEAK or any(map(_has_negative_prefix, plain.words)):
            return ""
        return "only one of them is negated"


def _has_negative_prefix(word: str) -> bool:
    return any(
        word.startswith(prefix) and len(word) > len(prefix) + 3 for prefix in ("un", "non", "dis")
    )


class AntonymGuard(Guard):
    """One prompt has a word whose opposite the other has: enable and disable, before and after,
    cheapest and most expensive. Comparatives and words of direction are among them.
    """

    name = "antonyms"

    def objection(self, asked: Reading, stored: Reading) -> str:
        for one in asked.stems - stored.stems:
            for other in stored.stems - asked.stems:
                if (one, other) in _OPPOSITES or _negates(one, other) or _negates(other, one):
                    return f"{one} against {other}"
        return ""


def _negates(negative: str, base: str) -> bool:
    return (
        len(base) >= _LEAST_BASE
        and negative.endswith(base)
        and negative.removesuffix(base) in NEGATIVE_PREFIXES
    )
