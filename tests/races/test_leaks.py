"""A process holds no more after a great many calls than after a few; `make leaks` makes 100,000."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any


def test_a_few_thousand_calls_of_every_kind_leave_nothing(redis_server: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.races.leaks", "4000", redis_server.url],
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
