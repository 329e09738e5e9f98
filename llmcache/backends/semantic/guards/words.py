"""When two words say the same, and what is left of two prompts once such words are paired off."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from llmcache.backends.semantic.guards.lexicon.grammar import LIGHT
from llmcache.backends.semantic.guards.lexicon.synonyms import SAME
from llmcache.backends.semantic.guards.spelling import mistyped, shared_start
from llmcache.backends.semantic.guards.stems import LONGEST_WORD, stem

_ENDINGS: Final = frozenset(
    (
        "",
        "s",
        "e",
        "es",
        "ed",
        "ing",
        "er",
        "or",
        "al",
        "ally",
        "ly",
        "ion",
        "ation",
        "abl",
        "ibl",
        "ment",
        "ness",
        "y",
        "ity",
        "iv",
        "ian",
        "ician",
        "ical",
        "ic",
        "ag",
        "anc",
        "enc",
        "less",
        "ful",
        "t",
        "cy",
        "en",
    )
)
_LEAST_STEM: Final = 5
# Beyond that the prompts are worded differently, whatever a few words mean.
_MOST_PAIRS: Final = 4096


def _stemmed(groups: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for word, group in groups.items():
        key = stem(word)
        found[key] = found.get(key, frozenset()) | {stem(other) for other in group}
    return found


_SAME: Final = _stemmed(SAME)
_LIGHT: Final = frozenset(map(stem, LIGHT))


def agree(one: str, other: str) -> bool:
    """Whether two stems say the same: one word, synonyms, one family, or a slip of the pen."""
    return one == other or (len(one) + len(other) <= 2 * LONGEST_WORD and _akin(one, other))


@lru_cache(maxsize=16384)
def _akin(one: str, other: str) -> bool:
    return other in _SAME.get(one, ()) or _related(one, other) or mistyped(one, other)


def _related(one: str, other: str) -> bool:
    shared = shared_start(one, other)
    endings = one[shared:], other[shared:]
    return shared >= _LEAST_STEM and endings[0] in _ENDINGS and endings[1] in _ENDINGS


def leftovers(one: Iterable[str], other: Sequence[str]) -> tuple[list[str], list[str]]:
    """The stems of each side that nothing on the other side agrees with, light words left out."""
    mine: list[str] = []
    theirs = list(other)
    for word in one:
        if word in theirs:
            theirs.remove(word)
        else:
            mine.append(word)
    _join_compounds(mine, theirs)
    _join_compounds(theirs, mine)
    if len(mine) * len(theirs) <= _MOST_PAIRS:
        for word in list(mine):
            match = next((candidate for candidate in theirs if agree(word, candidate)), None)
            if match is not None:
                mine.remove(word)
                theirs.remove(match)
    return [w for w in mine if w not in _LIGHT], [w for w in theirs if w not in _LIGHT]


def _join_compounds(whole: list[str], apart: list[str]) -> None:
    """Take out what one side writes as one word and the other as two."""
    for word in list(whole):
        for index in range(len(apart) - 1):
            if apart[index] + apart[index + 1] == word:
                whole.remove(word)
                del apart[index : index + 2]
                break
