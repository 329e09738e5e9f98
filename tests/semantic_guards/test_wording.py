"""The contrast, roles and entities guards: one shape, other things."""

from __future__ import annotations

from typing import Any

import pytest

from llmcache.backends.semantic import guards
from tests.semantic_guards.tables import EVERY, objects


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("What is covered for members?", "What is covered for visitors?"),
        ("Where do I return library books?", "Where do I return library laptops?"),
        ("Reset a user's password", "Reset a user's avatar"),
        ("How do I cancel my gym membership?", "How do I cancel my gym class?"),
        ("What is a casual shoe rack?", "What is a causal shoe rack?"),
        ("How is desert sand made?", "How is dessert sand made?"),
        ("Rules for a trainer", "Rules for a trainee"),
        ("Opening hours of the Leeds office", "Opening hours of the office"),
        ("oil garden gate", "oil garden gate hinge lock"),
        ("oil red garden gate hinge lock", "oil red garden shed door bell"),
    ],
)
def test_one_frame_around_another_word_is_vetoed(asked: str, stored: str) -> None:
    assert objects("contrast", asked, stored)


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("How do I fix a puncture?", "How do I repair a puncture?"),
        ("Where's the nearest chemist?", "Where is the nearest pharmacy?"),
        ("How do I recieve parcels?", "How do I receive parcels?"),
        ("Restaurant calendar", "Restarant calender"),
        ("Apply for a child's pass", "Aply for a chlid's pass"),
        ("Could you please tell me the opening hours?", "Opening hours?"),
        ("Is smart phone cover included?", "Is smartphone cover included?"),
        ("Are movies free?", "Is a movie free?"),
        ("oil garden gate", "oil garden gate hinge lock frame"),
        ("oil red garden path gate hinge lock arch", "oil red garden path shed door bell roof"),
        ("My kettle keeps tripping the fuse", "Why does the power go off when water boils?"),
    ],
)
def test_other_words_for_the_same_and_other_wording_pass(asked: str, stored: str) -> None:
    assert not objects("contrast", asked, stored)


def test_a_long_text_with_a_few_other_words_is_a_contrast() -> None:
    words = [a + b + c for a in "bdfgk" for b in "aeiou" for c in "lmnrt"]
    changed = [*words[:50], *(f"zz{word}" for word in words[50:60]), *words[60:]]

    assert objects("contrast", " ".join(words), " ".join(changed))


def test_names_that_only_one_has_are_no_objection_unless_asked_for() -> None:
    built = guards.build("guards", ["entities"])

    assert guards.veto(built, "is it cold in Oslo", "is it cold there") is None


@pytest.mark.parametrize(
    ("number", "changed", "options", "vetoed"),
    [
        (19, 4, {}, False),
        (20, 4, {}, True),
        (20, 5, {}, False),
        (25, 5, {}, True),
        (20, 6, {"most": 6}, True),
    ],
)
def test_a_fifth_of_a_long_text_may_differ(
    number: int, changed: int, options: dict[str, Any], vetoed: bool
) -> None:
    words = [a + b + c + "x" for a in "bdf" for b in "aiou" for c in "lmnrt"][:number]
    others = [f"zz{word}" for word in words[:changed]]
    built = guards.build("guards", {**dict.fromkeys(EVERY, False), "contrast": options})

    found = guards.veto(built, " ".join(words), " ".join([*others, *words[changed:]]))

    said = f"{' '.join(words[:changed])} against {' '.join(others)}"
    assert found == (("contrast", said) if vetoed else None)


@pytest.mark.parametrize(
    ("options", "vetoed"),
    [({}, True), ({"most": 0}, False), ({"shared": 0.9}, False), ({"shared": 0.6}, True)],
)
def test_options_say_how_much_a_frame_must_hold(options: dict[str, Any], vetoed: bool) -> None:
    asked, stored = "paint blue garden gate hinges", "paint blue garden gate posts"

    assert objects("contrast", asked, stored, **options) is vetoed


@pytest.mark.parametrize(("narrowed", "vetoed"), [(0.6, True), (0.9, False)])
def test_an_option_says_when_one_word_more_is_a_contrast(narrowed: float, vetoed: bool) -> None:
    asked, stored = "oil garden gate hinges", "oil garden gate"

    assert objects("contrast", asked, stored, narrowed=narrowed) is vetoed


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("Trains from Leeds to York", "Trains from York to Leeds"),
        ("Does Ann owe Bob?", "Does Bob owe Ann?"),
        ("Raise it from 10 to 20", "Raise it from 20 to 10"),
        ("Convert euros to francs", "Convert francs to euros"),
    ],
)
def test_swapped_roles_are_vetoed(asked: str, stored: str) -> None:
    assert objects("roles", asked, stored)


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("Trains from Leeds to York", "Trains from Leeds to York total"),
        ("Are Leeds and York close?", "Are York and Leeds close?"),
        ("Between 10 and 20", "Between 20 and 10"),
        ("Trains from Leeds to York", "Trains to York from Leeds"),
        ("Trains from Leeds to York", "Trains from Leeds to Hull"),
    ],
)
def test_roles_that_are_not_swapped_pass(asked: str, stored: str) -> None:
    assert not objects("roles", asked, stored)


@pytest.mark.parametrize(
    ("asked", "stored", "strict", "vetoed"),
    [
        ("Is it cold in Oslo?", "How warm does it get in Rome?", False, True),
        ("Is it cold in Oslo?", "Is it cold there?", False, False),
        ("Is Oslo cold In winter", "Is Rome cold In winter", False, True),
        ("Is Oslo Cold In winter", "Is Rome Cold In winter", False, False),
        ("Is it cold in Oslo?", "Is it cold there?", True, True),
        ("Is it cold in Oslo?", "in oslo, is it cold?", True, False),
        ("Is she at the United Nations?", "Is she at the UN?", False, False),
        ("Is it open on a Monday?", "Is it open on a Sunday?", True, False),
        ("When will I get my P60?", "When do I see my P60?", True, False),
        ("IS IT COLD IN OSLO?", "IS IT COLD IN ROME?", False, False),
    ],
)
def test_names_are_told_by_their_capital(
    asked: str, stored: str, strict: bool, vetoed: bool
) -> None:
    assert objects("entities", asked, stored, strict=strict) is vetoed
