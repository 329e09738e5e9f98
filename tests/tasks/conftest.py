"""Every test of tasks begins with an empty recorder."""

from __future__ import annotations

import pytest

from llmcache.recorder import recorder


@pytest.fixture(autouse=True)
def empty_recorder() -> None:
    """Drop what tests without a database have left."""
    recorder._start_afresh()
