"""The aim guard: why, when, where, who; must and may."""

from __future__ import annotations

import pytest

from tests.semantic_guards.tables import objects


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("When is the fair?", "Where is the fair?"),
        ("What time is the fair?", "Where is the fair?"),
        ("Why do cats purr?", "How do cats purr?"),
        ("Who opened the tower?", "When was the tower opened?"),
        ("Do I have to tip?", "Am I allowed to tip?"),
        ("Is a deposit mandatory?", "Is a deposit possible?"),
    ],
)
def test_another_aim_is_vetoed(asked: str, stored: str) -> None:
    assert objects("aim", asked, stored)


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("When is the fair?", "What time is the fair?"),
        ("How come cats purr?", "Why do cats purr?"),
        ("How do I get to the fair?", "Where is the fair?"),
        ("What do I have to do to join?", "How can I join?"),
        ("Do I have to tip?", "Must I tip?"),
        ("Can I tip?", "Am I allowed to tip?"),
        ("Opening times", "When do you open?"),
        ("", "When?"),
    ],
)
def test_one_aim_in_other_words_passes(asked: str, stored: str) -> None:
    assert not objects("aim", asked, stored)
