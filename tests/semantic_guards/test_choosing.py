"""Which guards a store's option builds, and what it refuses."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from llmcache.backends.semantic import guards


class ProductGuard(guards.Guard):
    """A site's own: prompts about other products."""

    name = "products"

    def __init__(self, *, products: list[str]) -> None:
        self.products = products

    def objection(self, asked: guards.Reading, stored: guards.Reading) -> str:
        differ = [p for p in self.products if (p in asked.text) != (p in stored.text)]
        return f"{differ[0]} is in one of them only" if differ else ""


class BrokenGuard(guards.Guard):
    def objection(self, asked: guards.Reading, stored: guards.Reading) -> str:
        raise LookupError(asked.text)


OWN = f"{__name__}.ProductGuard"
DEFAULT = {
    "length",
    "numbers",
    "dates",
    "negation",
    "language",
    "antonyms",
    "aim",
    "contrast",
    "roles",
}


def names(chosen: Any = None) -> set[str]:
    return {guard.name for guard in guards.build("guards", chosen)}


def test_names_are_compared_only_where_asked_for() -> None:
    assert names() == DEFAULT
    assert names({"entities": {}}) == DEFAULT | {"entities"}


def test_a_list_chooses_guards_and_their_order() -> None:
    built = guards.build("guards", ["roles", "numbers"])

    assert [guard.name for guard in built] == ["roles", "numbers"]
    assert guards.build("guards", []) == ()


def test_a_dict_adds_guards_and_switches_others_off() -> None:
    assert names({"dates": False, OWN: {"products": []}}) == DEFAULT - {"dates"} | {"products"}


def test_a_guard_of_the_sites_own_vetoes_by_its_name() -> None:
    built = guards.build("guards", {OWN: {"products": ["Kettle X"]}})

    assert guards.veto(built, "Does the Kettle X leak?", "My pot is leaking water") == (
        "products",
        "Kettle X is in one of them only",
    )


def test_verdicts_name_every_guard_and_its_objection() -> None:
    built = guards.build("guards", ["dates", "numbers"])

    found = guards.verdicts(built, "Open at 9 on Monday?", "Open at 10 on Monday?")

    assert found == [("dates", ""), ("numbers", "9 is in one of them only")]


def test_a_guard_that_fails_vetoes_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    built = guards.build("guards", [f"{__name__}.BrokenGuard"])

    with caplog.at_level(logging.ERROR, logger="llmcache"):
        assert guards.veto(built, "a secret", "b") == (
            "BrokenGuard",
            "the guard failed: LookupError",
        )
    assert caplog.messages == ["the guard BrokenGuard failed; the match is not served"]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (["nubmers"], "nubmers"),
        ({"nubmers": False, "x": {}}, "'x'"),
        ("numbers", "must be a list or a dict"),
        (7, "must be a list or a dict"),
        ([7], "must name guards"),
        ({"contrast": True}, "must name guards"),
        ({"contrast": {"least": 2}}, "least"),
        ({"contrast": {"shared": 50}}, "a share from 0 to 1"),
        ({"contrast": {"most": "many"}}, "contrast"),
        ({"numbers": {"most": 2}}, "numbers"),
        ({OWN: {}}, "products"),
        ([f"{__name__}.NoGuard"], "NoGuard"),
        (["decimal.Decimal"], "Guard"),
    ],
)
def test_a_guard_that_cannot_be_had_is_refused(chosen: Any, said: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="the option") as refused:
        guards.build("the option", chosen)

    assert said in str(refused.value)


@pytest.mark.parametrize("name", sorted(DEFAULT | {"entities"}))
def test_every_guard_is_in_the_guide(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "guards.md").read_text()

    assert f"\n| `{name}` |" in page


@pytest.mark.parametrize("option", ["shared", "narrowed"])
@pytest.mark.parametrize(("share", "taken"), [(-0.1, False), (0, True), (1, True), (1.1, False)])
def test_a_share_of_the_contrast_guard_is_from_0_to_1(
    option: str, share: float, taken: bool
) -> None:
    if taken:
        assert guards.build("S", {"contrast": {option: share}})
    else:
        with pytest.raises(ImproperlyConfigured, match=f"{option} must be a share"):
            guards.build("S", {"contrast": {option: share}})
    with pytest.raises(ImproperlyConfigured, match="most must not be negative, not -1"):
        guards.build("S", {"contrast": {"most": -1}})
