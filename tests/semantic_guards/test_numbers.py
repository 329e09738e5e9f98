"""The numbers guard: amounts, units, times of day, ranks, codes and versions."""

from __future__ import annotations

import pytest

from tests.semantic_guards.tables import objects


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("Boil an egg for 5 minutes", "Boil an egg for 7 minutes"),
        ("Pay 40 pounds", "Pay 40 dollars"),
        ("Is 0.0001 mg a dose?", "Is 0.0004 mg a dose?"),
        ("Is 1000001 bytes too big?", "Is 1000000 bytes too big?"),
        ("Is 1000001 bytes too big?", "Is 1mb too big?"),
        ("Is a year of 360 days fair?", "Is a year of one year fair?"),
        ("A notice of one month", "A notice of 31 days"),
        ("A loan of 0 euros", "A loan of 5 euros"),
        ("Is it open at 3:00 and at 3am?", "Is it open at 3pm and at 3:00?"),
        ("A wait of 0 seconds", "A wait of 5 minutes"),
        ("Pay £40", "Pay €40"),
        ("A loan of £1.5m", "A loan of £1.5k"),
        ("Is it open at 7am?", "Is it open at 7pm?"),
        ("Is it open at 7am?", "Is it open at 8am?"),
        ("Is it open at 12am?", "Is it open at 12pm?"),
        ("Is it open at 00:30?", "Is it open at 12:30pm?"),
        ("Is it open at 13:00?", "Is it open at 1am?"),
        ("Is it open at 7:30am?", "Is it open at 7:30pm?"),
        ("Is it open at 7:30 am?", "Is it open at 7:30pm?"),
        ("Is it open at 15:00?", "Is it open at 3am?"),
        ("Meet at 3 o'clock", "Meet at 4pm"),
        ("Who came third?", "Who came 4th?"),
        ("Who won in twenty ten?", "Who won in 30?"),
        ("Is a room free for two?", "Is a room free?"),
        ("A stay of 100 days", "A stay of 101 days"),
        ("What weighs 2kg?", "What weighs 2g?"),
        ("Is 5°C too cold?", "Is -5°C too cold?"),
        ("What came with Python 3.1?", "What came with Python 3.10?"),
        ("Notes of release 4.2.1", "Notes of release 4.2.2"),
        ("Ping 10.0.0.1", "Ping 10.0.0.2"),
        ("Was 2024-05-01 a holiday?", "Was 2024-01-05 a holiday?"),
        ("Is 3/4 more?", "Is 4/3 more?"),
        ("Where is order 12345678901234567890?", "Where is order 12345678901234567891?"),
        ("Was kostet das für 1.500 Euro?", "Was kostet das für 1.5 Euro?"),
        ("Wie schwer sind 1,5 kg?", "Wie schwer sind 15 kg?"),
        ("How long is the M25?", "What's the length of the M1?"),
        ("Which foods hold vitamin B12?", "In which foods do I find vitamin B6?"),
    ],
)
def test_another_number_is_another_question(asked: str, stored: str) -> None:
    assert objects("numbers", asked, stored)


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("Is two weeks enough?", "Are 14 days enough?"),
        ("A notice of one month", "A notice of 30 days"),
        ("A stay of 52 weeks", "A stay of one year"),
        ("A stay of 365 days", "A stay of one year"),
        ("Run 1.609344 km", "Run one mile"),
        ("Is it open at 7:20pm?", "Is it open at 19:20?"),
        ("Is it open at 0:00?", "Is it open at 12am?"),
        ("A wait of 0 seconds", "A wait of 0 minutes"),
        ("Heat to 1.50 kg", "Heat to 1.5 kg"),
        ("Run 26 miles in 3 hours", "In 3 hours run 26 miles"),
        ("Pay 2 of 3, or 3 of 2", "Pay 3 of 2, or 2 of 3"),
        ("Move fifty pounds", "Move £50"),
        ("Move £1,500", "Move 1500 pounds"),
        ("A prize of £2 million", "A prize of £2m"),
        ("Is it open at 15:00?", "Is it open at 3pm?"),
        ("Is it open at 00:30?", "Is it open at 12:30am?"),
        ("Is it open at 7am?", "Is it open at 7:00?"),
        ("Is it open at 19:30?", "Is it open at 7:30pm?"),
        ("Is it open at 7:30 pm?", "Is it open at 7:30pm?"),
        ("Is it open at 7:30pm for 5 days?", "Is it open at 7:30 pm for 5 days?"),
        ("Is it open at 12pm?", "Is it open at 12:00?"),
        ("Meet at 3 o'clock", "Meet at 3pm"),
        ("Who came third?", "Who came 3rd?"),
        ("Is the third 5 days off?", "Is the 3rd 5 days off?"),
        ("A table for twenty one guests", "A table for 21 guests"),
        ("Do five 3 minute rounds", "Do 5 3 minute rounds"),
        ("Is that one 5kg?", "Is that 5kg?"),
        ("How heavy is 1kg of it?", "How heavy are 1000 grams?"),
        ("At 18 years old", "At 18"),
        ("Turn on 2FA", "Turn on two-factor login"),
        ("What came with Python 3.10?", "Python 3.10: what was new?"),
        ("Is covid19 over?", "Is COVID19 over now?"),
        ("Which is the one to take?", "Which do I take?"),
        ("A half hour walk", "A 30 minute walk"),
        ("Ｏｐｅｎ ３ doors", "Open 3 doors"),
        ("Is ½ enough?", "Is ½ of it enough?"),
    ],
)
def test_the_same_number_in_other_words_is_the_same_question(asked: str, stored: str) -> None:
    assert not objects("numbers", asked, stored)
