"""The chat page in a real browser, with a real model behind it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

QUESTION = "Name three kinds of bread."
PATIENCE = 60_000  # ms; the model runs on whatever CPU there is


class Visit:
    """One page, and what went wrong on it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on(
            "console",
            lambda message: message.type == "error" and self.problems.append(message.text),
        )

    async def ask(self, question: str) -> None:
        await self.page.get_by_label("Your question").fill(question)
        await self.page.get_by_role("button", name="Ask", exact=True).click()

    async def outcome(self, number: int) -> str:
        """The outcome under the answer of that number, from 1 up, once it is there."""
        badge = self.page.locator("#said > li").nth(number - 1).locator(".outcome")
        await badge.wait_for(timeout=PATIENCE)
        return await badge.inner_text()

    async def picture(self, name: str) -> None:
        """Save a screenshot if LLMCACHE_TEST_PICTURES names a directory for it."""
        directory = os.environ.get("LLMCACHE_TEST_PICTURES")
        if directory:
            await self.page.screenshot(path=Path(directory) / f"{name}.png")


@pytest.fixture
async def visit(browser: Browser, site: str) -> AsyncIterator[Visit]:
    context = await browser.new_context(viewport={"width": 1280, "height": 860})
    visited = Visit(await context.new_page())
    await visited.page.goto(site)
    yield visited
    await context.close()


async def test_a_question_asked_twice_misses_and_then_hits_with_the_same_answer(
    visit: Visit,
) -> None:
    await visit.ask(QUESTION)
    assert await visit.outcome(1) == "miss"
    await visit.ask(QUESTION)
    assert await visit.outcome(2) == "hit"
    answers = await visit.page.locator(".answer").all_inner_texts()
    assert answers[0] and answers[0] == answers[1]
    await expect(visit.page.locator("#said > li").nth(1)).to_contain_text("tokens")
    assert visit.problems == []
    await visit.picture("desktop")


async def test_the_answer_appears_while_the_model_still_speaks(visit: Visit) -> None:
    await visit.page.evaluate(
        """() => {
            window.lengths = new Set();
            new MutationObserver(() => {
                const answer = document.querySelector(".answer");
                if (answer) window.lengths.add(answer.textContent.length);
            }).observe(document.getElementById("said"),
                       {childList: true, subtree: true, characterData: true});
        }"""
    )
    await visit.ask("How do rivers reach the sea?")
    assert await visit.outcome(1) == "miss"
    assert await visit.page.evaluate("() => window.lengths.size") > 3


async def test_a_question_is_shown_as_text_and_never_run(visit: Visit) -> None:
    await visit.ask("<img src=x onerror=alert(1)> Say yes.")
    await visit.outcome(1)
    await expect(visit.page.locator(".question")).to_have_text(
        "<img src=x onerror=alert(1)> Say yes."
    )
    assert await visit.page.locator("#said img").count() == 0
    assert visit.problems == []


async def test_the_page_works_without_script(browser: Browser, site: str) -> None:
    context = await browser.new_context(java_script_enabled=False)
    visit = Visit(await context.new_page())
    await visit.page.goto(site)
    await visit.ask("What is the capital of Spain?")
    first = await visit.outcome(1)
    await visit.ask("What is the capital of Spain?")
    assert (first, await visit.outcome(2)) == ("miss", "hit")
    await context.close()


async def test_a_phone_in_the_dark_shows_it_all_without_scrolling_sideways(
    browser: Browser, site: str
) -> None:
    context = await browser.new_context(
        viewport={"width": 375, "height": 740}, color_scheme="dark", device_scale_factor=2
    )
    visit = Visit(await context.new_page())
    await visit.page.goto(site)
    await visit.ask("What is the capital of Portugal?")
    await visit.outcome(1)
    await visit.ask("What is the capital of Portugal?")
    assert await visit.outcome(2) == "hit"
    wide = await visit.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 375
    await visit.picture("phone-dark")
    await context.close()
