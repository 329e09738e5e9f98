"""The fixtures that these tests share with others."""

from __future__ import annotations

from tests.testing.conftest import project as project
