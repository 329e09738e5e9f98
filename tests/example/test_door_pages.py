"""The example's pages of the SDKs and of the endpoint, in a real browser with a real model."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import openai
import pytest
from playwright.async_api import Browser, Page, expect

PATIENCE = 60_000  # ms; the model runs on whatever CPU there is
PICTURES = os.environ.get("LLMCACHE_TEST_PICTURES")


@asynccontextmanager
async def opened(browser: Browser, url: str) -> AsyncIterator[Page]:
    """A page that must end without any error of its own."""
    context = await browser.new_context()
    page = await context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: said.type == "error" and problems.append(said.text))
    await page.goto(url)
    yield page
    if PICTURES:
        await page.screenshot(path=str(Path(PICTURES) / f"{url.split('/')[-2]}.png"))
    assert problems == []
    await context.close()


@pytest.mark.parametrize("name", ["Ask with OpenAI", "Ask with AsyncOpenAI"])
async def test_the_sdk_is_answered_from_the_cache(browser: Browser, site: str, name: str) -> None:
    async with opened(browser, f"{site}/doors/sdk/") as page:
        await page.get_by_label("Your question").fill(f"Is this an SDK? {name}")
        await page.get_by_role("button", name=name, exact=True).click()
        badges = page.locator("#requests .outcome")
        await badges.nth(1).wait_for(timeout=PATIENCE)
        assert await badges.all_inner_texts() == ["miss", "hit"]
        answers = await page.locator("#requests .answer").all_inner_texts()
        assert answers[0] == answers[1] != ""


@pytest.mark.parametrize("name", ["Ask", "Ask for a stream"])
async def test_a_browser_with_a_key_asks_the_endpoint(
    browser: Browser, site: str, name: str
) -> None:
    async with opened(browser, f"{site}/doors/endpoint/") as page:
        await page.get_by_role("button", name="Make me a key").click()
        await expect(page.get_by_label("Your key")).to_have_value(re.compile("^llmc-"))
        await page.get_by_label("Your question").fill(f"Is this an endpoint? {name}")
        await page.get_by_role("button", name=name, exact=True).click()
        badges = page.locator("#requests .outcome")
        await badges.nth(1).wait_for(timeout=PATIENCE)
        assert await badges.all_inner_texts() == ["miss", "hit"]
        answers = await page.locator("#requests .answer").all_inner_texts()
        assert answers[0] == answers[1] != ""


async def test_every_page_leads_to_all_doors(browser: Browser, site: str) -> None:
    for path in ("/", "/doors/view/", "/doors/sdk/", "/doors/endpoint/"):
        async with opened(browser, f"{site}{path}") as page:
            links = page.locator("nav.doors a")
            assert await links.all_inner_texts() == [
                *("Functions", "Views", "SDKs", "Endpoint", "Admin")
            ]
            assert await page.locator("nav.doors a[aria-current]").count() == 1


def test_the_sites_endpoint_refuses_who_has_no_key(site: str) -> None:
    client = openai.OpenAI(base_url=f"{site}/llm/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
