"""The table says how much, against what, and why not."""

from __future__ import annotations

from benchmarks import table
from benchmarks.timing import Row


def row(**changed: object) -> Row:
    rounds = {"ours": [2e-5], "floor": [1e-5], "slow": [5e-4], "quick": [1e-5], "near": [6e-5]}
    return Row(**{"name": "a hit", "goal": "2.0", "base": "floor", "rounds": rounds, **changed})  # type: ignore[arg-type]


def test_the_ratio_comes_first_and_the_quickest_peer_before_the_others() -> None:
    assert table.cells(row()) == (
        *("a hit", "2.0", "2.00x", "20.0 us", "10.0 us floor"),
        "quick 0.50x, near 3.0x, slow 25x",
    )


def test_a_base_without_a_figure_leaves_ours() -> None:
    cells = table.cells(row(rounds={"ours": [2e-5]}, missing={"floor": "not installed"}))
    assert cells == ("a hit", "2.0", "-", "20.0 us", "- floor", "-")


def test_long_times_are_milliseconds_and_rates_are_calls_a_second() -> None:
    assert table.figure(row(rounds={"ours": [0.25]}), "ours") == "250 ms"
    assert table.figure(row(rate=True), "ours") == "50,000/s"


def test_calls_of_the_provider_stand_beside_the_figures() -> None:
    cells = table.cells(row(calls={"ours": [1, 1], "near": [1, 3], "slow": [100, 100]}))
    assert cells[3] == "20.0 us (1 call)"
    assert cells[5].endswith("near 3.0x (1 to 3 calls), slow 25x (100 calls)")


def test_columns_line_up() -> None:
    one, other = table.line(table.cells(row())), table.line(table.HEADINGS)
    assert one.index("10.0 us floor") == other.index("base")


def test_a_gap_has_its_reason_once_for_all_its_rows() -> None:
    rows = [
        row(missing={"tiny": "it is small", "other": "it hangs"}),
        row(name="a miss", missing={"tiny": "it is small"}),
    ]
    assert list(table.gaps(rows)) == [
        "other: it hangs (a hit)",
        "tiny: it is small (a hit; a miss)",
    ]


def test_notes_name_the_store_they_are_about() -> None:
    told = {"tiny": {"": "it is small", "disk": "a file"}}
    assert list(table.notes(told)) == ["tiny: it is small", "tiny, disk: a file"]


def test_versions_are_told_of_each_peer() -> None:
    told = {"tiny": {"tiny": "1.0", "small": "2"}, "other": {}}
    assert list(table.versions(told)) == ["tiny: tiny 1.0, small 2", "other: -"]


def test_documentation_has_the_same_cells() -> None:
    assert list(table.markdown([row()]))[2].startswith("| a hit | 2.0 | 2.00x | 20.0 us |")
