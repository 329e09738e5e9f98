"""The judge is asked inside its band only, and only its yes makes a hit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.matching.conftest import Site
from tests.matching.test_serving import SIMILAR, STORED, ask
from tests.matching.verdicts import FixedJudge


@pytest.fixture(autouse=True)
def nothing_asked() -> None:
    FixedJudge.asked.clear()


def judge(says: Any) -> dict[str, Any]:
    return {"BACKEND": "tests.matching.verdicts.FixedJudge", "OPTIONS": {"says": says}}


@pytest.mark.parametrize("says", [True, False])
def test_inside_the_band_the_judge_decides(door: Any, site: Site, says: bool) -> None:
    site(judge=judge(says), judge_band=[0.6, 0.95])
    ask(door)
    answer = ask(door, SIMILAR)
    assert answer.cache.hit is says
    assert FixedJudge.asked == [(SIMILAR, STORED)]


def test_its_yes_serves_below_the_threshold(door: Any, site: Site) -> None:
    site(judge=judge(True), similarity_threshold=0.95, judge_band=[0.6, 0.97])
    ask(door)
    assert ask(door, SIMILAR).cache.hit


def test_above_the_band_it_is_not_asked(door: Any, site: Site) -> None:
    site(judge=judge(False), judge_band=[0.5, 0.8])
    ask(door)
    assert ask(door, SIMILAR).cache.hit
    assert FixedJudge.asked == []


def test_a_guards_veto_needs_no_judge(door: Any, site: Site) -> None:
    site(judge=judge(True), judge_band=[0.5, 0.99])
    ask(door, "how do I return 3 pairs of shoes please")
    assert not ask(door, "how do I return 8 pairs of shoes please").cache.hit
    assert FixedJudge.asked == []


def test_a_judge_that_fails_makes_a_miss(
    door: Any, site: Site, counted: Callable[[str], int]
) -> None:
    site(judge=judge("fail"), judge_band=[0.5, 0.99])
    ask(door)
    answer = ask(door, SIMILAR)
    assert answer.cache.outcome == "miss"
    assert "judge failed" in answer.cache.reason
    assert counted("judge_error") == 1
