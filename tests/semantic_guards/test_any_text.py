"""Any text at all: guards end, never raise, and never part a prompt from itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcache.backends.semantic import guards

EVERY = guards.build("guards", {"entities": {"strict": True}})

PIECES = st.sampled_from(
    [
        *[
            "not",
            "don't",
            "can't",
            "no",
            "3",
            "3.10",
            "-5",
            "£2m",
            "2.5kg",
            "10:30",
            "3pm",
            "1,500",
            "1.2.3",
            "Monday",
            "mondys",
            "may",
        ],
        *[
            "before",
            "after",
            "Paris",
            "London",
            "from",
            "to",
            "and",
            "the",
            "what",
            "when",
            "where",
            "why",
            "how",
            "must",
            "can",
            "P60",
        ],
        *[
            "twenty",
            "one",
            "half",
            "hour",
            "o'clock",
            "am",
            "%",
            "°",
            "$",
            "-",
            "/",
            ":",
            ".",
            ",",
            "'",
            "’",
            "½",
            "²",
            "٣",
            "ß",
            "ﬁ",
            "İ",
            "enable",
            "disable",
        ],
        *("\u202e", "\u200b", "\0", "\U0001f600"),
    ]
)
TEXTS = st.text(max_size=60) | st.lists(PIECES, max_size=14).map(" ".join)


@settings(deadline=None, max_examples=400)
@given(TEXTS)
def test_no_guard_parts_a_prompt_from_itself(text: str) -> None:
    assert guards.veto(EVERY, text, text) is None


@settings(deadline=None, max_examples=400)
@given(TEXTS, TEXTS)
def test_a_verdict_does_not_depend_on_who_came_first(one: str, other: str) -> None:
    there = [(name, bool(said)) for name, said in guards.verdicts(EVERY, one, other)]
    back = [(name, bool(said)) for name, said in guards.verdicts(EVERY, other, one)]

    assert there == back


@settings(deadline=None, max_examples=200)
@given(TEXTS)
def test_letter_case_and_blanks_around_a_prompt_make_no_difference(text: str) -> None:
    assert guards.veto(guards.build("guards"), f"  {text}\n", text) is None


HUGE = {
    "one word": "a" * 100_000,
    "words": "word " * 20_000,
    "other words": " ".join(f"w{n}" for n in range(17_000)),
    "letters": " ".join(chr(0x4E00 + n % 20_000) for n in range(50_000)),
    "digits": "9" * 100_000,
    "numbers": " ".join(map(str, range(17_000))),
    "chain": "1." * 50_000,
    "commas": "1," * 50_000,
    "apostrophes": "'" * 100_000,
    "negations": "don't " * 16_000,
    "emoji": "\U0001f600\u200d" * 50_000,
    "right to left": "\u202eשלום " * 15_000,
    "zero width": "a\u200b" * 50_000,
    "NUL": "\x00" * 100_000,
    "blanks": " " * 100_000,
    "combining": "a" + "\u0301" * 100_000,
    "surrogates": "\ud800" * 100_000,
    "grows when normalised": "\ufdfa" * 100_000,
    "money": "£ " * 50_000,
    "minus": "-" * 100_000,
    "capitals": "A b " * 25_000,
}


@pytest.mark.parametrize("name", HUGE)
def test_a_huge_text_ends_soon(name: str) -> None:
    text = HUGE[name]

    # A guard whose work grows with the square of its text needs longer than a test may take.
    guards.veto(EVERY, text, text[:-1] + "z")
    guards.verdicts(EVERY, text, "Where is my order 7?")


def test_many_different_words_on_both_sides_end_soon() -> None:
    one = " ".join(f"alpha{chr(97 + n % 26)}{n:x}" for n in range(2_000))
    other = " ".join(f"beta{chr(97 + n % 26)}{n:x}" for n in range(2_000))

    guards.verdicts(EVERY, one, other)
