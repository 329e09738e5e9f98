"""The negation and antonyms guards: no against yes, and opposites."""

from __future__ import annotations

import pytest

from tests.semantic_guards.tables import objects


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("Which plants like shade?", "Which plants don't like shade?"),
        ("Which plants like shade?", "Which plants dont like shade?"),
        ("Can I park here?", "Can't I park here?"),
        ("Rooms with a view", "Rooms, but not with a view"),
        ("Delete my file", "Never delete my file"),
        ("Recipes of nuts", "Recipes without nuts"),
        ("Which shoes have a discount?", "Which shoes don't have a discount?"),
        ("The official language of the United States", "Has it no official language?"),
        ("Which are unsold?", "Which were not bought?"),
    ],
)
def test_only_one_negated_is_vetoed(asked: str, stored: str) -> None:
    assert objects("negation", asked, stored)


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("Why is my app not working?", "Why does my app not work?"),
        ("Why can't I log in?", "Why am I unable to log in?"),
        ("My parcel did not come", "My parcel is missing"),
        ("Why is my app uninstalled?", "Why is my app not installed?"),
        ("Is the cabin unheated?", "Is the cabin not heated?"),
        ("Is the offer nonbinding?", "Is the offer not binding?"),
        ("Why was I dismounted?", "Why was I not mounted?"),
        ("Which plants like shade?", "Which plants grow in shade?"),
        ("Nothing happens", "It doesn't do anything"),
    ],
)
def test_both_negated_or_negative_pass(asked: str, stored: str) -> None:
    assert not objects("negation", asked, stored)


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("Enable the alarm", "Disable the alarm"),
        ("Stretch before a run", "Stretch after a run"),
        ("The cheapest seat", "The most expensive seat"),
        ("Buying a boat", "Selling a boat"),
        ("Is this legal?", "Is this illegal?"),
        ("Unlock the door", "Lock the door"),
        ("The upsides of solar", "The hazards of solar"),
        ("A menu for breakfast", "A menu for dinner"),
        ("Undergraduate courses", "Courses for a master"),
        ("A bigger limit", "Reduce the limit"),
        ("Was he dishonest?", "Was he honest?"),
        ("Courses for employers", "Courses for employees"),
        ("Is the offer fair?", "Is the offer unfair?"),
        ("Is the offer unfair?", "Is the offer fair?"),
    ],
)
def test_opposites_are_vetoed(asked: str, stored: str) -> None:
    assert objects("antonyms", asked, stored)


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("Enable the alarm", "Activate the alarm"),
        ("Before or after a run?", "After or before a run?"),
        ("A ton of tax", "A ton of untax"),
        ("Is it fair?", "Is it a union?"),
        ("Is it dry under the tree?", "Under the tree, is it dry?"),
        ("Install the driver", "How is the driver installed?"),
    ],
)
def test_no_opposites_pass(asked: str, stored: str) -> None:
    assert not objects("antonyms", asked, stored)
