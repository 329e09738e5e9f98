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
from llmcache.backends.semantic.guards.spelling import mistyped
from llmcache.backends.semantic.guards.stems import stem

# What one of them must hold for a pattern to be tried, the pattern, and what stands in its place.
_REPLACED: Final = (
    (("‘", "’"), re.compile(r"[‘’]"), "'"),
    ((".m.",), re.compile(r"\b([ap])\.m\."), r"\1m"),
    (("-mail", "-fi"), re.compile(r"\b(e|wi)-(?=mail|fi)"), r"\1"),
    (
        ("2fa", "factor", "step"),
        re.compile(r"\b(?:2fa|(?:2|two)[- ](?:factor|step))\b"),
        "twofactor",
    ),
    (("old",), re.compile(r"(?<=\d)[- ]years?[- ]old\b"), " years"),
    (("can",), re.compile(r"\bcan'?t\b"), "can not"),
    (("won't",), re.compile(r"\bwon't\b"), "will not"),
    (
        ("nt", "n't"),
        re.compile(
            r"\b(do|does|did|is|are|was|were|has|have|had|would|could|should|must|need)n'?t\b"
        ),
        r"\1 not",
    ),
    (("s", "re"), re.compile(r"\b(what|who|where|how|there|when|that)(?:s|re)\b"), r"\1"),
    (("'",), re.compile(r"'(?:s|re|ve|ll|d|m)\b|(?<=s)'(?=\s|$)"), ""),
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
_LEAST_SLIP: Final = 6
_LONGEST_SLIP: Final = 11
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
_CALENDAR: Final = tuple(
    name
    for name, meant in _DATES.items()
    if meant in (*_WEEKDAYS, *_MONTHS) and len(name) >= _LEAST_SLIP
)
LONGEST: Final = 20_000


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
        codes: the words with a digit in them: b12, m25, iphone15.
        negators: how many words say no.
    """

    text: str
    words: tuple[str, ...]
    stems: frozenset[str]
    content: tuple[str, ...]
    function: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    codes: frozenset[str]
    dates: frozenset[str]
    negators: int


def read(text: str) -> Reading:
    """Take a prompt apart; of a very long one, its last 20,000 characters."""
    return _read_short(text) if len(text) <= _SHORT else _read(text)


def _read(text: str) -> Reading:
    plain = unicodedata.normalize("NFKC", text[-LONGEST:]).casefold()
    for needles, pattern, replacement in _REPLACED:
        if any(needle in plain for needle in needles):
            plain = pattern.sub(replacement, plain)
    spelled, counted = quantities.split(quantities.tokens(plain))
    words = tuple(word for word in spelled if not is_date(word))
    return Reading(
        text=text,
        words=words,
        stems=frozenset(map(stem, words)),
        content=tuple(stem(word) for word in words if word not in _NO_CONTENT),
        function=tuple(word for word in words if word in _STRUCTURE),
        quantities=tuple(counted),
        codes=frozenset(word for word in words if not word.isalpha()),
        dates=frozenset(filter(None, map(_date, spelled))),
        negators=sum(word in NEGATORS for word in words),
    )


# Long prompts are not kept in memory.
_SHORT: Final = 1000
_read_short: Final = lru_cache(maxsize=1024)(_read)
_STRUCTURE: Final = FUNCTION | PREPOSITIONS
_NO_CONTENT: Final = _STRUCTURE | NEGATORS


def is_date(word: str) -> bool:
    """Whether a word in lower case names a day, a month or a season."""
    return _date(word) != ""


def _date(word: str) -> str:
    """What day, month or season a word names, mistyped or not; "" if none."""
    if word in _DATES or not _LEAST_SLIP <= len(word) <= _LONGEST_SLIP:
        return _DATES.get(word, "")
    return _mistyped_date(word)


@lru_cache(maxsize=16384)
def _mistyped_date(word: str) -> str:
    return next((_DATES[name] for name in _CALENDAR if mistyped(word, name)), "")
