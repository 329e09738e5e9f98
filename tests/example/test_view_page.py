"""The page of decorated views, in a real browser with a real model, and the views over HTTP."""

from __future__ import annotations

import httpx
import pytest
from playwright.async_api import Browser

PATIENCE = 60_000  # ms; the model runs on whatever CPU there is


@pytest.mark.parametrize("path", ["json", "events"])
def test_a_decorated_view_of_the_example_misses_and_then_hits(site: str, path: str) -> None:
    question = {"q": f"Say yes to {path}"}
    first, second = (
        httpx.get(f"{site}/doors/view/{path}/", params=question, timeout=60) for _ in range(2)
    )
    said = [each.headers["X-LLMCache-Outcome"] for each in (first, second)]
    assert said == ["miss", "hit"]
    assert first.content == second.content != b""


@pytest.mark.parametrize("name", ["Ask the JSON view", "Ask the streaming view", "JSON, no-cache"])
async def test_a_button_asks_twice_and_shows_the_headers(
    browser: Browser, site: str, name: str
) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: said.type == "error" and problems.append(said.text))
    await page.goto(f"{site}/doors/view/")
    await page.get_by_label("Your question").fill(f"Is this a button? {name}")
    await page.get_by_role("button", name=name, exact=True).click()
    badges = page.locator("#requests .outcome")
    await badges.nth(1).wait_for(timeout=PATIENCE)
    again = "miss" if "no-cache" in name else "hit"
    assert await badges.all_inner_texts() == ["miss", again]
    answers = await page.locator("#requests .answer").all_inner_texts()
    assert answers[0] and (answers[0] == answers[1] or again == "miss")
    assert "llmcache; " in await page.locator("#requests dl").nth(1).inner_text()
    assert problems == []
    await context.close()
