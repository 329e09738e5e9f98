"""Conversations with other earlier turns: what is embedded, and when they are not the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcache.matching.history import Turn, condense, objection
from llmcache.matching.leaning import is_bare, stands_alone


def talk(*texts: str) -> list[Turn]:
    """Turns of a user and an assistant, the user's first."""
    return [("assistant" if index % 2 else "user", text) for index, text in enumerate(texts)]


KETTLE = talk(
    "My Hotbrook kettle leaks, I bought it in May",
    "Sorry! Your Hotbrook kettle cost £35 and is under guarantee for 2 years.",
    "how do I send it back?",
)


def test_a_message_that_leans_on_others_is_embedded_with_them() -> None:
    text = condense(KETTLE)

    assert text.splitlines()[0] == "how do I send it back?"
    assert "Hotbrook kettle cost" in text
    assert "bought it in May" in text


def test_a_message_that_stands_alone_is_embedded_by_itself() -> None:
    turns = [*KETTLE[:2], ("user", "Do you deliver garden furniture to Jersey?")]

    assert condense(turns) == "Do you deliver garden furniture to Jersey?"
    assert condense(turns[2:]) == condense(turns)


def test_long_turns_are_cut_so_that_each_has_its_part() -> None:
    turns = talk("first " * 500, "said " * 500, "and is it mine?")

    assert len(condense(turns)) < 1000


@pytest.mark.parametrize(
    "message",
    [
        "Do you deliver garden furniture to Jersey?",
        "By the way, do you deliver garden furniture?",
        "Ok, one more thing: do you deliver garden furniture?",
        "Is there a garden furniture sale this week?",
        "Do you deliver garden furniture, and how much is it?",
        "If my garden chair arrives broken can I return it?",
    ],
)
def test_a_full_question_stands_alone(message: str) -> None:
    assert stands_alone(message)


@pytest.mark.parametrize(
    "message",
    [
        "how do I send it back?",
        "so when does the garden furniture come?",
        "and when does garden furniture reach Jersey?",
        "Does that garden chair fold?",
        "When do they open the garden centre?",
        "What do garden chairs weigh there?",
        "reserve the first garden chair",
        "reserve the third garden chair",
        "how much?",
        "",
    ],
)
def test_what_leans_on_earlier_turns_does_not(message: str) -> None:
    assert not stands_alone(message)


@pytest.mark.parametrize(
    ("message", "bare"),
    [
        ("yes please", True),
        ("Go ahead.", True),
        ("the second one", True),
        ("no thanks", True),
        ("", True),
        ("is that ok?", False),
        ("ok how much", False),
        ("ok, cancel", False),
    ],
)
def test_a_bare_answer_only_agrees_declines_or_chooses(message: str, bare: bool) -> None:
    assert is_bare(message) is bare


@pytest.mark.parametrize(
    ("others", "last"),
    [
        # Small talk, and a turn more.
        (
            [
                "Hello there! My Hotbrook kettle leaks, sad days, I bought it in May",
                "Oh no! Your Hotbrook kettle cost £35 and is under guarantee for 2 years.",
                "phew, good",
                "Glad to hear it!",
            ],
            "How do I send it back?",
        ),
        # The same said in other words.
        (
            [
                "I bought a kettle of yours, a Hotbrook, in May and water drips out",
                "That is bad. There are 2 years of guarantee on it, and you paid £35.",
            ],
            "how do I send it back?",
        ),
    ],
)
def test_the_same_facts_in_other_words_are_one_conversation(others: list[str], last: str) -> None:
    assert objection(KETTLE, talk(*others, last)) == ""


@pytest.mark.parametrize(
    ("others", "said"),
    [
        # Another product, price, month or promise.
        (
            [
                "My Dryline toaster burns, I bought it in May",
                "Sorry! Your Dryline toaster cost £35 and is under guarantee for 2 years.",
            ],
            "drylin",
        ),
        (
            [
                "My Hotbrook kettle leaks, I bought it in May",
                "Sorry! Your Hotbrook kettle cost £35 and was under guarantee for 90 days.",
            ],
            "90",
        ),
        (
            [
                "My Hotbrook kettle leaks, I bought it in June",
                "Sorry! Your Hotbrook kettle cost £25 and is under guarantee for 2 years.",
            ],
            "25",
        ),
        (
            [
                "My Hotbrook kettle rusts, I bought it in May",
                "Sorry! Your Hotbrook kettle cost £35 and is under guarantee for 2 years.",
            ],
            "rust",
        ),
    ],
)
def test_another_fact_makes_another_conversation(others: list[str], said: str) -> None:
    assert said in objection(KETTLE, talk(*others, "how do I send it back?")).casefold()


def test_a_fact_that_stands_elsewhere_in_both_does_not_hide_a_swap() -> None:
    later = ["thanks", "Large parcels cost 4, small ones cost 9."]
    one = talk("Post", "The big red parcel for Ann costs 4 today", *later, "do I pay it now?")
    two = talk("Post", "The big red parcel for Ann costs 9 today", *later, "do I pay it now?")

    assert objection(one, two) == "4 against 9 in one turn"


def test_conversations_that_open_about_other_things_are_not_one() -> None:
    one = talk("Stop my Flixby plan", "Sure", "keep Gymbox", "Yes", "so cancel it now")
    two = talk("Stop my Gymbox plan", "Sure", "keep Flixby", "Yes", "so cancel it now")

    assert "opened about" in objection(one, two)


def test_a_bare_answer_is_served_to_its_own_history_only() -> None:
    one, two = talk("Hi", "Refund it?", "yes please"), talk("Hello", "Refund it?", "yes please")

    assert objection(one, two) == "a bare answer to another history"
    assert objection(one, talk("Hi", "Refund it?", "Yes, please!")) == ""


def test_a_question_of_its_own_is_served_whatever_was_said_before() -> None:
    last = "Do you deliver garden furniture to Jersey?"
    other = talk("Is my wifi bill of £20 late?", "It is due on Monday.", last)

    assert objection(talk(*(text for _, text in KETTLE[:2]), last), other) == ""
    assert objection(talk(last), other) == ""


def test_a_question_that_leans_on_nothing_is_not_served_from_a_conversation() -> None:
    assert objection(talk("how do I send it back?"), KETTLE)
    assert objection(talk("how do I return the kettle I bought?"), KETTLE)


def test_other_numbers_and_days_in_other_words_are_other_facts() -> None:
    one = talk("I need a sofa", "Sure, we deliver on Tuesday for 20", "and when is it here?")
    two = talk("a settee please", "The van can bring one Friday, 45 all in", "and when is it here?")

    assert objection(one, two) == "20 against 45"


def test_a_question_of_its_own_and_one_that_leans_are_not_one() -> None:
    own = [*KETTLE[:1], ("user", "Do you deliver garden furniture to Jersey?")]

    assert objection(own, KETTLE) == "only one of them stands without its history"


def test_what_is_too_long_to_compare_is_not_served() -> None:
    many = talk(*["fine"] * 62, "is it mine?")
    long = talk("word " * 5000, "ok", "is it mine?")

    assert "turns" in objection(many, KETTLE)
    assert "characters" in objection(long, KETTLE)


TEXTS = st.text(max_size=30) | st.sampled_from(
    ["yes", "is it 5?", "My Hotbrook kettle cost £35", "the second", "open on Monday", "not open"]
)
TALKS = st.lists(TEXTS, min_size=1, max_size=7).map(lambda texts: talk(*texts))


@settings(deadline=None, max_examples=200)
@given(TALKS, TALKS)
def test_an_objection_does_not_depend_on_who_came_first(one: list[Turn], two: list[Turn]) -> None:
    assert objection(one, one) == ""
    assert bool(objection(one, two)) == bool(objection(two, one))
    condense(one)


def test_hostile_histories_end_soon() -> None:
    names = " ".join(f"so Name{chr(97 + n % 26)}{'ab'[n % 2]}x{n}" for n in range(1_200))
    numbers = " ".join(str(n) for n in range(3_500))
    last = "is it " + "alpha beta gamma " * 500

    # Work that grows with the cube of the text needs longer than a test may take.
    for text in (names, numbers, "a" * 19_000):
        objection(talk("x", text, last), talk("y", text[::-1], last))
