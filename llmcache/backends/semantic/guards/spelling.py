"""Slips of the pen: when a word is another one that was mistyped."""

from __future__ import annotations

from typing import Final

from llmcache.backends.semantic.guards.lexicon.confusable import CONFUSABLE
from llmcache.backends.semantic.guards.stems import stem

_LEAST: Final = 5
_LEAST_FOR_ANY: Final = 7


def mistyped(one: str, other: str) -> bool:
    """Whether two words or stems differ by two letters in the wrong order, a letter that is or
    isn't doubled or, in long words, by any one letter.

    A first letter is never a slip. Nor are words that only look like slips for one another:
    casual and causal, desert and dessert.
    """
    longest = max(len(one), len(other))
    if longest < _LEAST or abs(len(one) - len(other)) > 1:
        return False
    start = shared_start(one, other)
    if start == 0 or one == other:
        return False
    end = min(shared_start(one[::-1], other[::-1]), min(len(one), len(other)) - start)
    left, right = one[start : len(one) - end], other[start : len(other) - end]
    swapped = len(left) == 2 and left == right[::-1]
    doubled = len(left + right) == 1 and (left or right) == one[start - 1]
    single = longest >= _LEAST_FOR_ANY and len(left) <= 1 and len(right) <= 1
    return (swapped or doubled or single) and not _confusable(one, other)


def shared_start(one: str, other: str) -> int:
    """How many letters two words begin with in common."""
    shared = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        shared += 1
    return shared


def _confusable(one: str, other: str) -> bool:
    return frozenset({one, other}) in _CONFUSABLE


def _with_stems() -> frozenset[frozenset[str]]:
    return CONFUSABLE | {frozenset(map(stem, pair)) for pair in CONFUSABLE}


_CONFUSABLE: Final = _with_stems()
