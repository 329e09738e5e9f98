"""The file of a run: its rows with all their rounds, the machine, versions, and other figures."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.timing import Row

Run = tuple[list[Row], dict[str, list[float]]]
"""A run's rows, and its costs with their rounds."""

FOLDER = Path("var/bench")


def new_path() -> Path:
    """Where a run is written if nobody says otherwise."""
    return FOLDER / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}.json"


def machine() -> dict[str, Any]:
    """What the figures depend on most."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor()


def add(path: Path, section: str, figures: Mapping[str, Any]) -> None:
    """Put figures into a run's file, which is made if it is not there."""
    content = json.loads(path.read_text()) if path.exists() else {}
    content[section] = figures
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def write(
    path: Path,
    rows: Iterable[Row],
    about: Mapping[str, Any],
    costs: Mapping[str, list[float]],
) -> None:
    """A run's own part of its file; each row with the medians of its rounds beside them."""
    told = []
    for row in rows:
        seconds = {who: row.seconds(who) for who in row.rounds}
        ratio = row.ratio("ours", row.base)
        told.append({**asdict(row), "ratio": ratio and asdict(ratio), "seconds": seconds})
    add(path, "run", {"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", **about})
    add(path, "rows", told)
    add(path, "costs", costs)


def read(path: Path) -> Run:
    """The rows and the costs of a run's file."""
    content = json.loads(path.read_text())
    known = Row.__dataclass_fields__
    rows = [
        Row(**{name: value for name, value in row.items() if name in known})
        for row in content["rows"]
    ]
    return rows, content["costs"]
