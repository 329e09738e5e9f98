"""A real Chromium, driven by Playwright; one page a test."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser; the test opens the pages that it needs."""
    from tests.conftest import missing

    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        missing("Chromium", f"none of {', '.join(NAMES)} is on the PATH")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield started
        await started.close()
