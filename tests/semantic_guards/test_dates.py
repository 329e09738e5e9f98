"""The dates guard: weekdays, months, seasons, relative days."""

from __future__ import annotations

import pytest

from tests.semantic_guards.tables import objects


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("Is the pool open on Monday?", "Is the pool open on Tuesday?"),
        ("Is the pool open on Monday?", "Is the pool open?"),
        ("Rain in April", "Rain in August"),
        ("Trains today", "Trains tomorrow"),
        ("What to plant in spring", "What to plant in autumn"),
    ],
)
def test_another_day_is_another_question(asked: str, stored: str) -> None:
    assert objects("dates", asked, stored)


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("Is the pool open on Mondays?", "Is the pool open on a Monday?"),
        ("Rain in September", "Rain in sept"),
        ("Open on Wedensday?", "Open on Wednesday?"),
        ("Open on firday?", "Open on Friday?"),
        ("Open on wednnesdays?", "Open on Wednesday?"),
        ("Are sundaes sold here?", "Do you sell sundaes?"),
        ("May I march in?", "Can I march in?"),
    ],
)
def test_the_same_day_spelled_another_way_is_the_same_question(asked: str, stored: str) -> None:
    assert not objects("dates", asked, stored)


def test_an_ice_cream_is_no_mistyped_day() -> None:
    assert not objects("dates", "Do you sell sundaes?", "Do you sell ice?")
