"""Conversations whose earlier turns are not equal: what to embed, and when not to serve.

Where a store's option `history` is "similar", earlier turns are no part of the partition. What the
last message leans on is embedded with it; where two histories are about one thing, their facts
must agree; and a bare "yes" or "the second one" is nothing without its own history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import Final

from llmcache.backends.semantic.guards.polarity import AntonymGuard
from llmcache.backends.semantic.guards.quantities import Quantity, unmatched
from llmcache.backends.semantic.guards.reading import Reading, read
from llmcache.backends.semantic.guards.stems import stem
from llmcache.backends.semantic.guards.wording import ContrastGuard, names
from llmcache.backends.semantic.guards.words import agree, leftovers
from llmcache.matching.leaning import is_bare, is_heavy, stands_alone

Turn = tuple[str, str]
"""A role, "user" or "assistant", and a text."""

_OF_A_TURN: Final = 400
_ONE_SUBJECT: Final = 0.35
_ONE_TURN: Final = 0.5
_TWINS: Final = 0.7
_NEAR: Final = 0.6
_ANTONYMS: Final = AntonymGuard()
_CONTRAST: Final = ContrastGuard()
_MOST_TURNS: Final = 60
_MOST_CHARACTERS: Final = 20_000
_MOST_WORDS: Final = 30
_MOST_QUANTITIES: Final = 200


def condense(turns: Sequence[Turn]) -> str:
    """The text to embed for a conversation: its last message, where that stands by itself, or
    with what the assistant said last and how the user began.

    Args:
        turns: the user's and the assistant's messages in order, the last one the user's.
    """
    last = turns[-1][1]
    if stands_alone(last):
        return last
    earlier = turns[:-1]
    began = [text[:_OF_A_TURN] for role, text in earlier if role == "user"][:1]
    said = [text[-_OF_A_TURN:] for role, text in earlier if role != "user"][-1:]
    return "\n".join([last, *said, *began])


def objection(asked: Sequence[Turn], stored: Sequence[Turn]) -> str:
    """Why one conversation's answer does not serve the other, as far as their histories tell.

    The last messages themselves are the guards' to compare.

    Returns:
        "" where nothing speaks against it.
    """
    before, then = [text for _, text in asked[:-1]], [text for _, text in stored[:-1]]
    if before == then:
        return ""
    last, other = asked[-1][1], stored[-1][1]
    if is_bare(last) or is_bare(other):
        return "a bare answer to another history"
    alone = stands_alone(last), stands_alone(other)
    if alone[0] != alone[1]:
        return "only one of them stands without its history"
    if not all(alone) and not (before and then):
        return "one of them has no history to lean on"
    if max(map(len, (before, then))) > _MOST_TURNS:
        return f"a history of more than {_MOST_TURNS} turns"
    if max(sum(map(len, texts)) for texts in (before, then)) > _MOST_CHARACTERS:
        return f"a history of more than {_MOST_CHARACTERS} characters"
    shared = _shared(_content(before), _content(then))
    if shared < _ONE_SUBJECT and all(alone):
        return ""
    if shared < _NEAR and read(last).content and read(other).content:
        mine, theirs = _about(last, before), _about(other, then)
    else:
        mine, theirs = before, then
    return (
        _other_opening(before, then)
        or _other_facts(mine, then, theirs, before)
        or _other_fact_in_one_turn(before, then)
        or _other_fact_in_one_turn(then, before)
    )


def _content(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(word for text in texts for word in read(text).content)


def _shared(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one or other else 1.0


def _about(message: str, texts: Sequence[str]) -> list[str]:
    """The turns that speak of what a message speaks of, each with the one before and after."""
    words = [stem(word) for word in read(message).words if is_heavy(word)][:_MOST_WORDS]
    near = {
        beside
        for index, text in enumerate(texts)
        if any(agree(word, stem) for word in words for stem in read(text).content)
        for beside in (index - 1, index, index + 1)
    }
    return [text for index, text in enumerate(texts) if index in near or index < 2]


def _other_facts(
    asked: Sequence[str],
    all_stored: Sequence[str],
    stored: Sequence[str],
    all_asked: Sequence[str],
) -> str:
    """Each history has a number, day or name that the other has nowhere."""
    mine, theirs = _facts_beyond(asked, all_stored), _facts_beyond(stored, all_asked)
    return f"{min(mine)} against {min(theirs)}" if mine and theirs else ""


def _facts_beyond(texts: Sequence[str], others: Sequence[str]) -> set[str]:
    known = [read(text) for text in others]
    stems = frozenset[str]().union(*(reading.stems for reading in known))
    dates = frozenset[str]().union(*(reading.dates for reading in known))
    codes = frozenset[str]().union(*(reading.codes for reading in known))
    quantities = [quantity for reading in known for quantity in reading.quantities]
    found: set[str] = set()
    for text in set(texts).difference(others):
        reading = read(text)
        found |= (reading.dates - dates) | (reading.codes - codes)
        found |= {_shown(q) for q in reading.quantities if _new(q, quantities)}
        found |= {name for name in names(text) if not _is_known(name, stems)}
    return found


def _new(quantity: Quantity, others: Sequence[Quantity]) -> bool:
    if len(others) > _MOST_QUANTITIES:
        return quantity not in others
    return all(any(unmatched([quantity], [other])) for other in others)


def _other_fact_in_one_turn(asked: Sequence[str], stored: Sequence[str]) -> str:
    """A turn that both histories have, but for a fact in it, wherever else that fact stands."""
    known = [read(text) for text in dict.fromkeys(stored) if text not in asked]
    for text in dict.fromkeys(asked):
        reading = read(text)
        if text in stored or not known:
            continue
        twin = max(known, key=lambda other: _shared(reading.stems, other.stems))
        if _shared(reading.stems, twin.stems) >= _ONE_TURN:
            different = _difference(reading, twin)
            if different:
                return different
    return ""


def _difference(one: Reading, other: Reading) -> str:
    quantities = [
        [q for q in mine if _new(q, theirs)]
        for mine, theirs in (
            (one.quantities, other.quantities),
            (other.quantities, one.quantities),
        )
    ]
    mine = {_shown(quantity) for quantity in quantities[0]}
    theirs = {_shown(quantity) for quantity in quantities[1]}
    mine |= (one.dates - other.dates) | (one.codes - other.codes) | _new_names(one, other)
    theirs |= (other.dates - one.dates) | (other.codes - one.codes) | _new_names(other, one)
    if mine and theirs:
        return f"{min(mine)} against {min(theirs)} in one turn"
    if _shared(one.stems, other.stems) >= _TWINS and all(leftovers(one.content, other.content)):
        return _CONTRAST.objection(one, other)
    return _ANTONYMS.objection(one, other)


def _other_opening(asked: Sequence[str], stored: Sequence[str]) -> str:
    """The conversations open about different things, be they mentioned later in both."""
    one, other = read("\n".join(asked[:2])), read("\n".join(stored[:2]))
    mine, theirs = _new_names(one, other), _new_names(other, one)
    return f"opened about {min(mine)} and {min(theirs)}" if mine and theirs else ""


def _new_names(one: Reading, other: Reading) -> set[str]:
    return {name for name in names(one.text) if not _is_known(name, other.stems)}


def _is_known(name: str, stems: Set[str]) -> bool:
    return name in stems or any(word[0] == name[0] and agree(name, word) for word in stems)


def _shown(quantity: Quantity) -> str:
    return quantity.spelling or f"{quantity.number:g}"
