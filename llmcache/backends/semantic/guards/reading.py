"""A prompt as guards read it: taken apart once into words, quantities and dates."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from llmcache.backends.semantic.guards import quantities
from llmcache.backends.semantic.guards.lexicon.grammar import FUNCTION, NEGATORS, PREPOSITIONS
from llmcache.backends.semantic.guards.quantities import Quantity

_REPLACED: Final = (
    (re.compile(r"[‘’]"), "'"),
    (re.compile(r"\b([ap])\.m\."), r"\1m"),
    (re.compile(r"\b(e|wi)-(?=mail|fi)"), r"\1"),
    (re.compile(r"\bcan'?t\b"), "can not"),
    (re.compile(r"\bwon't\b"), "will not"),
    (
        re.compile(
            r"\b(do|does|did|is|are|was|were|has|have|had|would|could|should|must|need)n'?t\b"
        ),
        r"\1 not",
    ),
    (re.compile(r"\b(what|who|where|how|there|when|that)(?:s|re)\b"), r"\1"),
    (re.compile(r"'(?:s|re|ve|ll|d|m)\b|(?<=s)'(?=\s|$)"), ""),
)
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# March and May are verbs too often.
_MONTHS: Final = (
    "january",
    "february",
    "april",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_MOMENTS: Final = (
    "today",
    "tomorrow",
    "yesterday",
    "tonight",
    "weekend",
    "weekday",
    "spring",
    "summer",
    "autumn",
    "winter",
    "christmas",
    "easter",
    "halloween",
    "midnight",
    "noon",
)
_DATES: Final[dict[str, str]] = {
    **{name: name for name in (*_WEEKDAYS, *_MONTHS, *_MOMENTS)},
    **{f"{name}s": name for name in (*_WEEKDAYS, "weekend", "weekday")},
    **{name[:3]: name for name in ("monday", "tuesday", "thursday", "friday", *_MONTHS)},
    "wed": "wednesday",
    "weds": "wednesday",
    "tues": "tuesday",
    "thur": "thursday",
    "thurs": "thursday",
    "sept": "september",
}
_ENDINGS: Final = (
    # ending, what stays of it, how many letters must come before it
    ("ations", "", 4),
    ("ation", "", 4),
    ("ments", "", 4),
    ("ment", "", 4),
    ("ness", "", 4),
    ("ities", "", 4),
    ("ies", "y", 2),
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
_LONGEST: Final = 20_000


@dataclass(frozen=True, slots=True)
class Reading:
    """One prompt, taken apart.

    Attributes:
        text: as it was written.
        words: all words in order, in lower case, contractions written out, numbers and dates left
            out.
        stems: the words without their endings.
        content: the stems of the words that carry content, in order.
        function: the words that don't, in order.
        negators: how many words say no.
    """

    text: str
    words: tuple[str, ...]
    stems: frozenset[str]
    content: tuple[str, ...]
    function: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    dates: frozenset[str]
    negators: int


@lru_cache(maxsize=1024)
def read(text: str) -> Reading:
    """Take a prompt apart; of a very long one, its last 20,000 characters."""
    plain = unicodedata.normalize("NFKC", text[-_LONGEST:]).casefold()
    for pattern, replacement in _REPLACED:
        plain = pattern.sub(replacement, plain)
    spelled, counted = quantities.split(quantities.tokens(plain))
    words = tuple(word for word in spelled if word not in _DATES)
    return Reading(
        text=text,
        words=words,
        stems=frozenset(map(stem, words)),
        content=tuple(stem(word) for word in words if word not in _NO_CONTENT),
        function=tuple(word for word in words if word in _STRUCTURE),
        quantities=tuple(counted),
        dates=frozenset(_DATES[word] for word in spelled if word in _DATES),
        negators=sum(word in NEGATORS for word in words),
    )


_STRUCTURE: Final = FUNCTION | PREPOSITIONS
_NO_CONTENT: Final = _STRUCTURE | NEGATORS


def is_date(word: str) -> bool:
    """Whether a word in lower case names a day, a month or a season."""
    return word in _DATES


@lru_cache(maxsize=16384)
def stem(word: str) -> str:
    """A word without its ending, so that forms of one word agree. Crude on purpose."""
    if len(word) <= 3:
        return word
    for ending, kept, least in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= least:
            base = word[: len(word) - len(ending)] + kept
            doubled = len(base) > 3 and base[-1] == base[-2] and base[-1] not in "lsz"
            if ending in ("ing", "ed", "ally") and doubled:
                base = base[:-1]
            return base.rstrip("e") if len(base) > 3 else base
    return word.rstrip("e")
