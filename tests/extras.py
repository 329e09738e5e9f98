"""Tests that need an extra, among others that need none."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

NONE = os.environ.get("LLMCACHE_TEST_EXTRAS") == "none"
"""This run is about an installation without extras."""


def needs(package: str) -> pytest.MarkDecorator:
    """Skip a test where no extra is meant to be installed; elsewhere a missing package fails it."""
    return pytest.mark.skipif(NONE and find_spec(package) is None, reason=f"needs {package}")
