"""A few seconds of what `make fuzz` does for longer."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import missing

ROOT = Path(__file__).parent.parent.parent
SECONDS = 2


@pytest.mark.parametrize("target", ["answers", "envelope", "sse"])
def test_no_bytes_are_found_that_break_a_promise(target: str, tmp_path: Path) -> None:
    if find_spec("atheris") is None:
        missing("atheris", "it has no wheel for this interpreter or system")
    # The size that a process begins with is that of the one which started it.
    options = (f"-max_total_time={SECONDS}", f"-artifact_prefix={tmp_path}/", "-rss_limit_mb=0")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DONE" in done.stderr
