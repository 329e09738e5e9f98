"""When two words are one: forms of a word, slips of the pen, and words written apart."""

from __future__ import annotations

import pytest

from llmcache.backends.semantic.guards.spelling import mistyped
from llmcache.backends.semantic.guards.stems import stem
from llmcache.backends.semantic.guards.words import agree, leftovers


@pytest.mark.parametrize(
    ("word", "without"),
    [
        ("use", "use"),
        ("uses", "use"),
        ("house", "hous"),
        ("running", "run"),
        ("trainees", "trainee"),
        ("training", "train"),
        ("a" * 39 + "s", "a" * 39),
        ("a" * 40 + "s", "a" * 40 + "s"),
    ],
)
def test_a_stem_is_the_word_without_its_ending(word: str, without: str) -> None:
    assert stem(word) == without


@pytest.mark.parametrize(
    ("one", "other", "slip"),
    [
        ("recieve", "receive", True),
        ("cnotact", "contact", True),
        ("aply", "apply", True),
        ("contact", "contant", True),
        ("contact", "contacts", True),
        ("contact", "contact", False),
        ("contact", "montact", False),
        ("contact", "conxyact", False),
        ("contact", "contacted", False),
        ("plans", "planes", False),
        ("paint", "print", False),
        ("form", "from", False),
        ("of", "off", False),
        ("casual", "causal", False),
        ("desert", "dessert", False),
    ],
)
def test_a_slip_is_two_letters_swapped_one_doubled_or_one_of_a_long_word(
    one: str, other: str, slip: bool
) -> None:
    assert mistyped(one, other) is mistyped(other, one) is slip


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("print", "printer", True),
        ("prin", "printer", False),
        ("buy", "purchas", True),
        ("b" + "a" * 39, "b" + "a" * 38 + "c", True),
        ("b" + "a" * 40, "b" + "a" * 39, False),
    ],
)
def test_words_agree(one: str, other: str, same: bool) -> None:
    assert agree(one, other) is agree(other, one) is same


@pytest.mark.parametrize(
    ("one", "other", "left"),
    [
        (["smartphon"], ["smart", "phon"], ([], [])),
        (["smartphon"], ["red", "smart", "phon"], ([], ["red"])),
        (["smartphon"], ["smart", "phon", "red"], ([], ["red"])),
        (["smartphon", "bookshop"], ["smart", "phon", "book", "shop"], ([], [])),
        (["book", "shop", "red"], ["bookshop", "blu"], (["red"], ["blu"])),
        (["red", "red"], ["red"], (["red"], [])),
        (["red", "hous"], ["red"], (["hous"], [])),
        (["red", "find"], ["red"], ([], [])),
    ],
)
def test_what_is_left_of_two_prompts(
    one: list[str], other: list[str], left: tuple[list[str], list[str]]
) -> None:
    assert leftovers(one, other) == left
    assert leftovers(other, one) == left[::-1]


@pytest.mark.parametrize(("number", "compared"), [(64, True), (65, False)])
def test_two_texts_that_share_nothing_are_not_compared_word_by_word(
    number: int, compared: bool
) -> None:
    mine, theirs = ([f"{side}{n:02}" for n in range(number - 1)] for side in "ab")

    left = leftovers([*mine, "print"], [*theirs, "printer"])

    assert left == ((mine, theirs) if compared else ([*mine, "print"], [*theirs, "printer"]))
