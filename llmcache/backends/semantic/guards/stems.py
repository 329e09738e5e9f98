"""Words without their endings, so that forms of one word agree."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_ACTED_UPON: Final = frozenset(
    ["employee", "trainee", "interviewee", "payee", "licensee", "lessee", "mentee", "nominee"]
)
LONGEST_WORD: Final = 40
"""What is longer is no word but a key, a path or noise, and is compared as it is."""
_ENDINGS: Final = (
    # ending, what stays of it, how many letters must come before it
    ("ations", "", 4),
    ("ation", "", 4),
    ("ments", "", 4),
    ("ment", "", 4),
    ("ness", "", 4),
    ("ities", "", 4),
    ("ies", "y", 2),
    ("ie", "y", 3),
    ("sses", "ss", 2),
    ("lessly", "less", 3),
    ("ing", "", 3),
    ("ally", "", 4),
    ("ed", "", 3),
    ("ches", "ch", 2),
    ("shes", "sh", 2),
    ("xes", "x", 2),
    ("es", "", 3),
    ("ly", "", 4),
    ("ss", "ss", 2),
    ("us", "us", 2),
    ("is", "is", 2),
    ("s", "", 3),
)


def stem(word: str) -> str:
    """A word without its ending, so that forms of one word agree. Crude on purpose."""
    return _stem(word) if 3 < len(word) <= LONGEST_WORD else word


@lru_cache(maxsize=16384)
def _stem(word: str) -> str:
    if word.removesuffix("s") in _ACTED_UPON:
        return word.removesuffix("s")  # a trainee is neither a trainer nor in training
    for ending, kept, least in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= least:
            base = word[: len(word) - len(ending)] + kept
            doubled = len(base) > 3 and base[-1] == base[-2] and base[-1] not in "lsz"
            if ending in ("ing", "ed", "ally") and doubled:
                base = base[:-1]
            return base.rstrip("e") if len(base) > 3 else base
    return word.rstrip("e")
