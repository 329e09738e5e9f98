"""Guards against questions of one shape about different things."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from llmcache.backends.semantic.guards.base import Guard
from llmcache.backends.semantic.guards.lexicon.grammar import FUNCTION, SYMMETRIC
from llmcache.backends.semantic.guards.quantities import in_order
from llmcache.backends.semantic.guards.reading import LONGEST, Reading, is_date
from llmcache.backends.semantic.guards.stems import stem
from llmcache.backends.semantic.guards.words import agree, leftovers

_LONG: Final = 20
_WORD: Final = re.compile(r"[^\W\d_][^\W_]*")
_NAME: Final = re.compile(r"(?<!^)(?<![.?!:]\s)(?<!\n)\b[^\W\d_][^\W_]*")


class ContrastGuard(Guard):
    """The prompts share most of their words, and the few that differ are what they are about.

    "What is covered for members" and "What is covered for visitors" stand close together in any
    vector space: in a frame of equal words a different one is the point. Where prompts are worded
    differently altogether, it says nothing.

    OPTIONS:
        shared (float): from which share of common content words on two prompts have one frame.
        narrowed (float): the same, where one prompt has all words of the other and more.
        most (int): how many words may differ for this to be a contrast rather than other wording;
            in long prompts a fifth of the words if that is more.
    """

    name = "contrast"

    def __init__(self, *, shared: float = 0.5, narrowed: float = 0.6, most: int = 3) -> None:
        for option, share in (("shared", shared), ("narrowed", narrowed)):
            if not 0 <= share <= 1:
                raise ValueError(f"{option} must be a share from 0 to 1, not {share!r}.")
        if most < 0:
            raise ValueError(f"most must not be negative, not {most!r}.")
        self.shared = shared
        self.narrowed = narrowed
        self.most = most

    def objection(self, asked: Reading, stored: Reading) -> str:
        mine, theirs = leftovers(asked.content, stored.content)
        if not mine and not theirs:
            return ""
        number = max(len(asked.content), len(stored.content))
        different = max(len(mine), len(theirs))
        share = (number - different) / number
        if not mine or not theirs:
            if share < self.narrowed:
                return ""
            return f"only one of them says {' '.join(mine or theirs)}"
        most = self.most if number < _LONG else max(self.most, number // 5)
        if different > most or share < self.shared:
            return ""
        return f"{' '.join(mine)} against {' '.join(theirs)}"


class RoleGuard(Guard):
    """The same words in another order, with the same small words between them: from London to Paris
    and from Paris to London. What is joined by "and" or "or" may change places.
    """

    name = "roles"

    def objection(self, asked: Reading, stored: Reading) -> str:
        if asked.function != stored.function:
            return ""
        if any(word in SYMMETRIC for word in asked.function):
            return ""
        if any(leftovers(asked.content, stored.content)):
            return ""
        for one, other in zip(asked.content, stored.content, strict=False):
            if not agree(one, other):
                return f"{one} stands where {other} stood"
        if not in_order(asked.quantities, stored.quantities):
            return "the numbers stand in another order"
        return ""


class EntityGuard(Guard):
    """Each prompt has a name that the other lacks: a town, a person, a product, told by its capital
    letter.

    OPTIONS:
        strict (bool): object when only one of them has a name more.
    """

    name = "entities"

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict

    def objection(self, asked: Reading, stored: Reading) -> str:
        mine, theirs = _unknown_names(asked, stored), _unknown_names(stored, asked)
        if (mine and theirs) or (self.strict and (mine or theirs)):
            return " against ".join(
                " ".join(sorted(found)) or "no name" for found in (mine, theirs)
            )
        return ""


def _unknown_names(reading: Reading, other: Reading) -> set[str]:
    return {
        name
        for name in names(reading.text) - names(other.text)
        if not any(agree(name, known) for known in other.stems) and not _stands_for(name, other)
    }


def names(text: str) -> set[str]:
    """Words with a capital letter that no sentence begins with, as stems."""
    text = unicodedata.normalize("NFKC", text[-LONGEST:])
    words = _WORD.findall(text)
    if sum(word[0].isupper() for word in words) > 0.6 * len(words):
        return set()  # a title, or somebody shouting
    found = (match[0].casefold() for match in _NAME.finditer(text) if match[0][0].isupper())
    return {stem(name) for name in found if name not in FUNCTION and not is_date(name)}


def _stands_for(name: str, other: Reading) -> bool:
    """Whether a name may be made of the first letters of the other prompt's words."""
    return len(name) >= 2 and name in "".join(word[0] for word in other.words)
