"""Whether a message leans on the conversation before it, told from its own words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from llmcache.backends.semantic.guards.lexicon.grammar import FUNCTION, LIGHT, PREPOSITIONS
from llmcache.backends.semantic.guards.reading import read
from llmcache.backends.semantic.guards.stems import stem


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CONSENT: Final = _set(
    """
    yes yeah yep yup sure ok okay fine right alright please go ahead do carry on no nope thanks
    agreed perfect great first second third last latter former both either neither
    """
)
_QUESTION_WORDS: Final = _set("what which who whom whose when where why how")
_PRONOUNS: Final = _set("it its they them their theirs one ones he him his she her hers")
_ANAPHORA: Final = _set(
    """
    that this these those here then same so too either instead else again mine first second
    """
)
_CONNECTIVES: Final = _set("and so ok okay yes yeah no great but or then right cool fine also")
_LIGHT: Final = frozenset(map(stem, LIGHT))
_THERE: Final = re.compile(r"\bthere\b")
_EXISTS: Final = re.compile(r"\b(?:is|are|was|were) there\b|\bthere(?:'s| is| are| was| were)\b")
_THIS_YEAR: Final = re.compile(
    r"\b(?:this|that) (?=year|month|week|weekend|morning|afternoon|evening|time)"
)
# Said before turning to something else, or before saying anything.
_OPENERS: Final = re.compile(
    r"""^\W* (?: (?:
        ok | okay | right | great | cool | perfect | lovely | brilliant | thanks | thank\ you
        | cheers | hi | hello | hey | sorry | also | oh | by\ the\ way | btw | incidentally
        | before\ i\ go | while\ i'm\ here | while\ i\ remember | unrelated (?:,?\ but)?
        | (?: one | another | a | last | final)\ (?: (?: more | other | quick | different)\ )*
          (?: thing | question)
        | (?: quick | separate | different | random | last | final | other)[ ]
          (?: thing | question | topic | subject)
        | on\ (?: another | a\ different | a\ separate)\ (?: note | topic | subject)
        | changing\ the\ subject | separately
    ) \b \W* )+""",
    re.VERBOSE,
)
_LEAST_CONTENT: Final = 3
_LEAST_ANTECEDENT: Final = 2


def is_bare(message: str) -> bool:
    """Whether a message only agrees, declines or chooses: it means what it answers."""
    words = read(message).words
    return (
        "?" not in message
        and _QUESTION_WORDS.isdisjoint(words)
        and all(word in _CONSENT or word in FUNCTION for word in words)
    )


def stands_alone(message: str) -> bool:
    """Whether a message can be understood without what came before it."""
    plain = _OPENERS.sub("", message.replace("’", "'").casefold())
    reading = read(_THIS_YEAR.sub(" ", plain))
    if not reading.words or reading.words[0] in _CONNECTIVES:
        return False
    if not _ANAPHORA.isdisjoint(reading.words) or _leans(reading.words):
        return False
    if _THERE.search(plain) and not _EXISTS.search(plain):
        return False
    if any(quantity.dimension == "ordinal" for quantity in reading.quantities):
        return False  # the third of what was offered
    return (
        sum(map(is_heavy, reading.words)) + len(reading.dates) + len(reading.quantities)
        >= _LEAST_CONTENT
    )


def is_heavy(word: str) -> bool:
    """Whether a word in lower case names what is spoken of."""
    return word not in FUNCTION and word not in PREPOSITIONS and stem(word) not in _LIGHT


def _leans(words: Sequence[str]) -> bool:
    """Whether a pronoun comes before anything in the message that it can stand for."""
    heavy = 0
    for word in words:
        if word in _PRONOUNS and heavy < _LEAST_ANTECEDENT:
            return True
        heavy += is_heavy(word)
    return False
