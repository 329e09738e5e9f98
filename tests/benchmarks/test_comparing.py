"""Two runs beside each other: what is more than the noise of both is marked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import comparing, results
from benchmarks.peer import ROOT
from benchmarks.timing import Row

NOISE = [0.96, 0.98, 1.0, 1.02, 1.04]


def row(ours: float = 2.0, name: str = "a hit", machine: float = 1.0, base: str = "floor") -> Row:
    """Rounds of ours that lie around so many times the base."""
    rounds = {"ours": [ours * part * machine for part in NOISE], base: [machine] * len(NOISE)}
    return Row(name, "", base, rounds)


def only(before: Sequence[Row], now: Sequence[Row]) -> Sequence[str]:
    (cells,) = comparing.differences(before, now)
    return cells


@pytest.mark.parametrize(
    ("ours", "change", "marked"),
    [
        (2.0, "+0%", ""),
        (2.06, "+3%", ""),
        (2.4, "+20%", "SLOWER"),
        (1.94, "-3%", ""),
        (1.6, "-20%", "faster"),
    ],
)
def test_only_what_is_beyond_the_rounds_own_spread_is_marked(
    ours: float, change: str, marked: str
) -> None:
    cells = only([row()], [row(ours)])
    assert (cells[3], cells[-1]) == (change, marked)


def test_quiet_rounds_make_no_mark_of_next_to_nothing() -> None:
    one = Row("a hit", "", "floor", {"ours": [2.0] * 5, "floor": [1.0] * 5})
    other = Row("a hit", "", "floor", {"ours": [2.02] * 5, "floor": [1.0] * 5})
    assert only([one], [other])[-1] == ""


def test_a_slower_machine_is_no_slower_row() -> None:
    cells = only([row()], [row(machine=3.0)])
    assert (cells[1], cells[2], cells[-1]) == ("2x", "2x", "")


def test_rows_of_one_run_alone_are_told_of() -> None:
    found = {
        cells[0]: cells[-1] for cells in comparing.differences([row(name="a")], [row(name="b")])
    }
    assert found == {"a": "gone", "b": "new"}


def test_rows_with_another_base_are_not_compared() -> None:
    assert only([row()], [row(9.0, base="one hit")])[-1] == "another base"


def test_a_row_whose_base_has_no_figure_is_not_compared() -> None:
    alone = Row("a hit", "", "floor", {"ours": [9.0]})
    assert only([row()], [alone])[-1] == "no base"


def test_costs_are_compared_by_their_own_rounds() -> None:
    before, now = {"ms": [50.0, 51.0, 52.0], "MB": [3.0]}, {"ms": [80.0, 81.0, 82.0]}
    found = {cells[0]: cells for cells in comparing.costs(before, now)}
    assert found["ms"][1:4] == ("51", "81", "+59%")
    assert found["ms"][-1] == "SLOWER"
    assert found["MB"][-1] == "gone"


def test_a_file_keeps_every_round_and_what_others_put_into_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.json"
    results.add(path, "ledger", {"record": 0.5})
    one = Row(
        "a", "2", "floor", {"ours": [1.0, 2.0]}, {"ours": [1, 1]}, {"floor": "gone"}, rate=True
    )
    results.write(path, [row(), one], {"cores": 2}, {"ms": [1.0]})
    assert results.read(path) == ([row(), one], {"ms": [1.0]})
    assert '"ledger"' in path.read_text()


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_two_files_are_compared_without_measuring(tmp_path: Path) -> None:
    for name, ours in (("old", 2.0), ("new", 3.0)):
        results.write(tmp_path / name, [row(ours)], {}, {})
    done = command("--compare", str(tmp_path / "old"), str(tmp_path / "new"))
    assert done.returncode == 0
    heading, line = done.stdout.splitlines()
    assert heading.split()[:2] == ["path", "ratio"]
    assert line.startswith("a hit ")
    assert line.endswith("SLOWER")


@pytest.mark.parametrize("content", [None, "no json", "{}"])
def test_a_file_that_is_no_run_is_refused_before_the_run(
    content: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "old.json"
    if content is not None:
        path.write_text(content)
    done = command("--compare", str(path))
    assert done.returncode == 2
    assert "is no run's file" in done.stderr
