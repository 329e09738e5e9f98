"""The language and length guards: what cannot be compared."""

from __future__ import annotations

import pytest

from tests.semantic_guards.tables import objects


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("Where is the station?", "Где находится вокзал?"),
        ("Где вокзал?", "駅はどこですか"),
        ("the of station", "der und bahnhof"),
        ("the of station, der", "der und wie bahnhof"),
        ("车站在哪里?", "駅はどこですか"),
        ("车站在哪里?", "カメラ"),
        ("Где вокзал XY?", "where is it"),
        (
            "Where is the station and how do I get there?",
            "Wo ist der Bahnhof und wie komme ich hin?",
        ),
        ("Où est la gare et comment je paie?", "Dove è la stazione e come pago io?"),
    ],
)
def test_another_language_wants_another_answer(asked: str, stored: str) -> None:
    assert objects("language", asked, stored)


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("Where is the station?", "How do I get to the station?"),
        ("Wo ist der Bahnhof?", "Wie komme ich zum Bahnhof?"),
        ("42", "Где вокзал?"),
        ("42 ½", "Где вокзал?"),
        ("カメラの修理", "カメラを直したい"),
        ("the of and der die", "der die das und the is"),
        ("the station", "der bahnhof"),
        ("the of station", "der bahnhof"),
        ("the of and der und", "der und wie bahnhof"),
        ("", "?"),
        ("cafe naïve", "café naive"),
        ("cafe", "café"),
    ],
)
def test_one_language_passes(asked: str, stored: str) -> None:
    assert not objects("language", asked, stored)


def test_what_stands_before_the_part_that_is_read_must_be_equal() -> None:
    end = " and so on" * 2_500

    assert objects("length", "The red book" + end, "The blue book" + end)
    assert not objects("length", "The red book" + end, "The red book" + end)
    assert not objects("length", "The red book", "A blue book, which is longer")
