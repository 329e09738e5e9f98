"""What guards say that they object to: the admin shows it, and so does `llmcache_explain`."""

from __future__ import annotations

from typing import Any

import pytest

from llmcache.backends.semantic import guards
from tests.semantic_guards.tables import EVERY


@pytest.mark.parametrize(
    ("guard", "asked", "stored", "said"),
    [
        ("numbers", "open at 9", "open", "9 is in one of them only"),
        ("numbers", "wait 5 hours", "wait", "5 time is in one of them only"),
        ("numbers", "python 3.10", "python", "3.10 is in one of them only"),
        ("numbers", "meet at 7:30pm", "meet", "7.5 clock is in one of them only"),
        ("numbers", "meet at 7 o clock", "meet", "7 dial is in one of them only"),
        ("numbers", "the third one", "the one", "3 ordinal is in one of them only"),
        ("numbers", "the 4th one", "the one", "4 ordinal is in one of them only"),
        ("numbers", "pay £2m", "pay", "2000000 pound is in one of them only"),
        ("numbers", "the m25 and a1", "the road", "a1 is in one of them only"),
        ("dates", "on sunday or friday", "on", "friday is in one of them only"),
        ("negation", "it is not on", "it is on", "only one of them is negated"),
        ("language", "where is it", "где вокзал", "Latin against Cyrillic script"),
        ("language", "カメラはどこ", "где вокзал", "Japanese against Cyrillic script"),
        (
            "language",
            "what is the way to it",
            "wie ist der weg und was ist er",
            "English against German",
        ),
        ("antonyms", "enable it", "disable it", "enabl against disabl"),
        ("antonyms", "is it fair", "is it unfair", "fair against unfair"),
        ("antonyms", "is it unfair", "is it fair", "unfair against fair"),
        ("aim", "when is it", "where is it", "time against place"),
        ("aim", "must i tip", "may i tip", "what must be against what may be"),
        (
            "contrast",
            "oil the red garden gate hinge lock",
            "oil the red garden gate door bell",
            "hing lock against door bell",
        ),
        ("contrast", "oil red garden gate", "oil garden gate", "only one of them says red"),
        (
            "contrast",
            "oil garden gate frame",
            "oil garden gate frame hinge lock",
            "only one of them says hing lock",
        ),
        ("roles", "from leeds to york", "from york to leeds", "leed stands where york stood"),
        ("roles", "from 10 to 20", "from 20 to 10", "the numbers stand in another order"),
        (
            "entities",
            "is it in Oslo or Rome",
            "is it in Paris or Bonn",
            "oslo rom against bonn paris",
        ),
    ],
)
def test_an_objection_names_what_differs(guard: str, asked: str, stored: str, said: str) -> None:
    assert guards.veto(guards.build("guards", [guard]), asked, stored) == (guard, said)


@pytest.mark.parametrize(
    ("asked", "stored", "said"),
    [
        ("is it cold in Oslo", "is it cold there", "oslo against no name"),
        ("is it cold there", "is it cold in Oslo", "no name against oslo"),
    ],
)
def test_a_strict_guard_says_which_side_has_no_name(asked: str, stored: str, said: str) -> None:
    strict: dict[str, Any] = {**dict.fromkeys(EVERY, False), "entities": {"strict": True}}
    assert guards.veto(guards.build("guards", strict), asked, stored) == ("entities", said)
