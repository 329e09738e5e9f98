"""Rounds are interleaved, and who drops out takes nobody along."""

from __future__ import annotations

import pytest

from benchmarks.timing import Contender, Missing, Row, Spread, race, spread


def made(seconds: float) -> Contender:
    return lambda times: seconds


def test_ratios_are_those_of_the_rounds() -> None:
    row = Row("a", "", "floor", {"ours": [2.0, 40.0, 6.0], "floor": [1.0, 10.0, 2.0]})
    assert row.ratio("ours", "floor") == Spread(2.5, 3.0, 3.5)
    assert row.ratio("floor", "ours") == spread([0.5, 0.25, 1 / 3])


def test_who_has_no_figure_has_no_ratio() -> None:
    assert Row("a", "", "floor", {"ours": [1.0]}).ratio("ours", "floor") is None


def test_every_contender_runs_once_a_round_and_each_begins_in_turn() -> None:
    order: list[str] = []

    def noted(name: str) -> Contender:
        def run(times: int) -> float:
            order.append(name)
            return 0.01

        return run

    names = ("ours", "floor", "peer")
    race("a", "", {name: noted(name) for name in names}, rounds=3, times=1)
    assert order[3:] == [*names, "floor", "peer", "ours", "peer", "ours", "floor"]


def test_a_round_has_as_many_calls_as_its_time_allows() -> None:
    turns: list[int] = []
    seconds = iter([9.0, 9.0, 0.001, 0.002, 0.001])

    def run(times: int) -> float:
        turns.append(times)
        return next(seconds)

    race("a", "", {"ours": run, "floor": made(1.0)}, rounds=1)
    assert turns == [2, 2, 2, 2, 25]


@pytest.mark.parametrize("good", [0, 1, 5])
def test_who_fails_on_the_way_is_left_out_with_the_reason(good: int) -> None:
    left = iter(range(good))

    def failing(times: int) -> float:
        if next(left, None) is None:
            raise Missing("it is tired")
        return 1.0

    row = race("a", "", {"ours": made(1.0), "floor": made(1.0), "peer": failing}, rounds=5)
    assert row.missing == {"peer": "it is tired"}
    assert {who: len(rounds) for who, rounds in row.rounds.items()} == {"ours": 5, "floor": 5}


def test_without_ours_there_is_no_row() -> None:
    def failing(times: int) -> float:
        raise Missing("it is tired")

    with pytest.raises(Missing, match="a hit: it is tired"):
        race("a hit", "", {"ours": failing, "floor": made(1.0)})
