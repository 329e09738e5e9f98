"""Guards against other numbers, other days, other languages and what is too long to compare."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache
from typing import Final

from llmcache.backends.semantic.guards.base import Guard
from llmcache.backends.semantic.guards.lexicon.languages import FUNCTION_WORDS_OF
from llmcache.backends.semantic.guards.quantities import unmatched
from llmcache.backends.semantic.guards.reading import LONGEST, Reading


class NumberGuard(Guard):
    """A number, an amount of something, a time of day, a rank or a code with a digit in it is in
    one prompt only.
    """

    name = "numbers"

    def objection(self, asked: Reading, stored: Reading) -> str:
        different = next(unmatched(asked.quantities, stored.quantities), None)
        if different is not None:
            shown = different.spelling or f"{different.number:g} {different.dimension}".strip()
            return f"{shown} is in one of them only"
        code = min(asked.codes ^ stored.codes, default="")
        return f"{code} is in one of them only" if code else ""


class DateGuard(Guard):
    """A weekday, month, season or relative day is in one prompt only."""

    name = "dates"

    def objection(self, asked: Reading, stored: Reading) -> str:
        different = asked.dates ^ stored.dates
        return f"{min(different)} is in one of them only" if different else ""


class LengthGuard(Guard):
    """Guards read the last 20,000 characters; what stands before them is not the same."""

    name = "length"

    def objection(self, asked: Reading, stored: Reading) -> str:
        if asked.text[:-LONGEST] == stored.text[:-LONGEST]:
            return ""
        return f"they differ before the last {LONGEST} characters"


class LanguageGuard(Guard):
    """The prompts are in different scripts or, as far as their small words tell, languages: who
    asks in German wants a German answer.
    """

    name = "language"

    def objection(self, asked: Reading, stored: Reading) -> str:
        scripts = _script(asked.text), _script(stored.text)
        if all(scripts) and scripts[0] != scripts[1]:
            return f"{scripts[0].title()} against {scripts[1].title()} script"
        languages = _language(asked.words), _language(stored.words)
        if all(languages) and languages[0] != languages[1]:
            return f"{languages[0]} against {languages[1]}"
        return ""


_SAMPLE: Final = 200
_KANA: Final = frozenset({"HIRAGANA", "KATAKANA"})


def _script(text: str) -> str:
    """The script of most letters, by its Unicode name; "" where there are none."""
    sample = text[:_SAMPLE]
    if sample.isascii():
        return "LATIN" if any(map(str.isalpha, sample)) else ""
    counts = Counter(map(_script_of, filter(str.isalpha, sample)))
    if not _KANA.isdisjoint(counts):
        return "JAPANESE"
    return counts.most_common(1)[0][0] if counts else ""


@lru_cache(maxsize=4096)
def _script_of(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]


def _language(words: tuple[str, ...]) -> str:
    """The language whose small words a text has most of; "" if two of them or none stand out."""
    counts = Counter(
        language for word in words[:_SAMPLE] for language in _LANGUAGES_OF.get(word, ())
    )
    (language, first), (_, second) = [*counts.most_common(2), ("", 0), ("", 0)][:2]
    return language if first >= 2 and first >= 2 * second else ""


_LANGUAGES_OF: Final[dict[str, list[str]]] = {
    word: [language for language, small in FUNCTION_WORDS_OF.items() if word in small]
    for word in frozenset[str]().union(*FUNCTION_WORDS_OF.values())
}
