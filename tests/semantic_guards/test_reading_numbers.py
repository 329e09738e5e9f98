"""What of a prompt is a number, what it counts, and which of its words belong to it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from llmcache.backends.semantic.guards.quantities import Quantity, split, tokens


def q(
    dimension: str, value: float, number: float | str | None = None, spelling: str = ""
) -> Quantity:
    return Quantity(dimension, value, Decimal(value if number is None else number), spelling)


def chain(spelling: str) -> Quantity:
    return Quantity("", 0.0, Decimal(0), spelling)


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("up at 7 pm today", "up at today", [q("clock", 19, 7)]),
        ("up at 7 am today", "up at today", [q("clock", 7)]),
        ("up at 7pm est today", "up at est today", [q("clock", 19, 7)]),
        ("up at 7am est today", "up at est today", [q("clock", 7)]),
        ("up at 12 pm today", "up at today", [q("clock", 12)]),
        ("up at 12 am today", "up at today", [q("clock", 0, 12)]),
        ("up at 12:45pm today", "up at today", [q("clock", 12.75)]),
        ("up at 7:45 am today", "up at today", [q("clock", 7.75)]),
        ("up at 7:45 pm today", "up at today", [q("clock", 19.75, 7.75)]),
        ("up at 7:45pm est today", "up at est today", [q("clock", 19.75, 7.75)]),
        ("up at 7:30 est today", "up at est today", [q("dial", 7.5)]),
        ("up at 1:00 today", "up at today", [q("dial", 1)]),
        ("up at 12:59", "up at", [q("dial", 12 + 59 / 60)]),
        ("up at 13:00", "up at", [q("clock", 13)]),
        ("up at 0:30", "up at", [q("clock", 0.5)]),
        ("up at 7 oclock sharp", "up at sharp", [q("dial", 7)]),
        ("up at 7 o clock sharp", "up at sharp", [q("dial", 7)]),
        ("up at 24 oclock sharp", "up at sharp", [q("clock", 24)]),
        ("up at 24 o clock sharp", "up at sharp", [q("clock", 24)]),
        ("up at 24am sharp", "up at sharp", [q("clock", 0, 24)]),
        ("up at 25am sharp", "up at 25am sharp", []),
        ("25 o clock radios", "o clock radios", [q("", 25)]),
        ("25 oclock radios", "oclock radios", [q("", 25)]),
        ("7kg am heavy", "am heavy", [q("mass", 7000, 7)]),
        ("7kg oclock", "oclock", [q("mass", 7000, 7)]),
        ("7kg o clock", "o clock", [q("mass", 7000, 7)]),
        ("the 1st of all", "the of all", [q("ordinal", 1)]),
        ("the 2nd of all", "the of all", [q("ordinal", 2)]),
        ("the 3rd of all", "the of all", [q("ordinal", 3)]),
        ("the 4th of all", "the of all", [q("ordinal", 4)]),
        ("the fourth kg of it", "the kg of it", [q("ordinal", 4)]),
        ("at 10.0.0.1 kg", "at kg", [chain("10.0.0.1")]),
        ("on 3/4/2026 kg", "on kg", [chain("3/4/2026")]),
        ("call 555-123-4567", "call", [chain("555-123-4567")]),
        ("a £1.5m house", "a house", [q("pound", 1_500_000)]),
        ("a £ 20 note", "a note", [q("pound", 20)]),
        ("a $5k car", "a car", [q("dollar", 5000)]),
        ("a $5 million house now", "a house now", [q("dollar", 5_000_000)]),
        ("a 1.5m man", "a 1.5m man", []),
        ("an mp3 kg", "an mp3 kg", []),
        ("3d kg print", "3d kg print", []),
        ("10gb kg ram", "kg ram", [q("data", 10e9, 10)]),
        ("10k kg of it", "of it", [q("mass", 10e6, 10_000)]),
        ("10 k users", "users", [q("", 10_000)]),
        ("10 million users today", "users today", [q("", 10_000_000)]),
        ("two million kg today", "today", [q("mass", 2e9, 2_000_000)]),
        ("two thousand km million", "million", [q("length", 2e6, 2000)]),
        ("5 % off", "off", [q("share", 5)]),
        ("5% off", "off", [q("share", 5)]),
        ("5 g of salt", "g of salt", [q("", 5)]),
        ("5g of salt", "of salt", [q("mass", 5)]),
        ("5 kg of salt", "of salt", [q("mass", 5000, 5)]),
        ("-5 degrees out", "out", [q("angle", -5)]),
        ("twenty five kilos more", "more", [q("mass", 25_000, 25)]),
        ("twenty five kilos kg", "kg", [q("mass", 25_000, 25)]),
        ("twenty five million dollars more", "more", [q("dollar", 25e6)]),
        ("twenty ten more", "more", [q("", 20), q("", 10)]),
        ("nineteen nine more", "more", [q("", 19), q("", 9)]),
        ("twenty zero more", "more", [q("", 20), q("", 0)]),
        ("one of them", "one of them", []),
        ("one week later", "later", [q("time", 604_800, 1)]),
        ("half an hour", "half an hour", []),
        ("1,5 kg", "", [q("mass", 1500, "1.5")]),
        ("1,25 kg", "", [q("mass", 1250, "1.25")]),
        ("1,500 kg", "", [q("mass", 1_500_000, 1500)]),
        ("1,5.2 kg", "", [q("mass", 15_200, "15.2")]),
        ("1.500 kg", "", [q("mass", 1500, "1.500", "1.500")]),
        ("1.50 kg", "", [q("mass", 1500, "1.50")]),
        ("python 3.10 now", "python now", [q("", 3.1, "3.10", "3.10")]),
        ("off % today", "off today", []),
        ("5 celsius", "", [q("celsius", 5)]),
        ("5 ms", "", [q("time", 0.005, 5)]),
        ("hours", "hours", []),
        ("5 hours", "", [q("time", 18_000, 5)]),
        ("5", "", [q("", 5)]),
        ("five, and x", "and x", [q("", 5)]),
    ],
)
def test_numbers_words_and_what_is_counted(text: str, words: str, found: list[Quantity]) -> None:
    left, quantities = split(tokens(text))
    assert " ".join(left) == words
    assert quantities == found
