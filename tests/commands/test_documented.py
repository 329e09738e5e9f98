"""The pages about tasks and commands tell of all that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcache import jobs

ROOT = Path(__file__).parent.parent.parent
COMMANDS = [
    path.stem for path in (ROOT / "llmcache" / "management" / "commands").glob("llmcache_*.py")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    assert f"`{command}`" in (ROOT / "docs" / "commands.md").read_text()


@pytest.mark.parametrize("job", jobs.JOBS)
def test_every_task_is_documented(job: str) -> None:
    assert f"`{job}`" in (ROOT / "docs" / "tasks.md").read_text()
