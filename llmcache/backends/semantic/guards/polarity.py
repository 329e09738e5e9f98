"""Guards against opposite questions: one side says no, or says the opposite."""

from __future__ import annotations

from typing import Final

from llmcache.backends.semantic.guards.base import Guard
from llmcache.backends.semantic.guards.lexicon.grammar import WEAK_NEGATIVES
from llmcache.backends.semantic.guards.lexicon.opposites import NEGATIVE_PREFIXES, OPPOSITES
from llmcache.backends.semantic.guards.reading import Reading
from llmcache.backends.semantic.guards.stems import stem

_WEAK: Final = frozenset(map(stem, WEAK_NEGATIVES))
_NONE: Final[frozenset[str]] = frozenset()
_OPPOSITES: Final[dict[str, frozenset[str]]] = {
    stem(word): frozenset(stem(other) for one, other in OPPOSITES if stem(one) == stem(word))
    for word, _ in OPPOSITES
}
_LEAST_BASE: Final = 4


class NegationGuard(Guard):
    """One prompt is negated, the other is neither negated nor negative by its words."""

    name = "negation"

    def objection(self, asked: Reading, stored: Reading) -> str:
        if bool(asked.negators) == bool(stored.negators):
            return ""
        plain, negated = (stored, asked) if asked.negators else (asked, stored)
        if plain.stems & _WEAK or any(_negated(word, negated.stems) for word in plain.stems):
            return ""
        return "only one of them is negated"


class AntonymGuard(Guard):
    """One prompt has a word whose opposite the other has: enable and disable, before and after,
    cheapest and most expensive. Comparatives and words of direction are among them.
    """

    name = "antonyms"

    def objection(self, asked: Reading, stored: Reading) -> str:
        mine, theirs = asked.stems - stored.stems, stored.stems - asked.stems
        for one in sorted(mine):
            other = _opposite(one, theirs)
            if other:
                return f"{one} against {other}"
        for other in sorted(theirs):
            one = _negated(other, mine)
            if one:
                return f"{one} against {other}"
        return ""


def _opposite(word: str, others: frozenset[str]) -> str:
    """One of the others that says the opposite of a word; "" if none does."""
    return min(_OPPOSITES.get(word, _NONE) & others, default="") or _negated(word, others)


def _negated(word: str, others: frozenset[str]) -> str:
    """One of the others that a word says no to by its prefix; "" if it has none or none is."""
    if word.startswith(NEGATIVE_PREFIXES):
        for prefix in NEGATIVE_PREFIXES:
            base = word.removeprefix(prefix)
            if base != word and len(base) >= _LEAST_BASE and base in others:
                return base
    return ""
