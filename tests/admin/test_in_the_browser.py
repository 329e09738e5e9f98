"""The main ways through the admin in a real browser, under a strict content security policy."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from time import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client
from django.utils import translation
from playwright.async_api import Browser, Page, expect

import llmcache
from llmcache import ledger
from llmcache.models import Entry
from llmcache.recorder import recorder
from tests.admin.conftest import MODEL, address
from tests.ledger.records import called, header

pytestmark = pytest.mark.django_db(transaction=True)
QUESTIONS = (
    "Which bread is dark and keeps for a week?",
    "Write a haiku about rivers.",
    "Summarise the minutes of the last meeting in three sentences.",
    "What does the error “connection reset by peer” mean?",
    "Translate “good morning” into Portuguese.",
)
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1360, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1360, "height": 900}, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 375, "height": 740},
        "color_scheme": "light",
        "device_scale_factor": 2,
    },
    "german": {"viewport": {"width": 1360, "height": 900}, "locale": "de"},
    "german-phone": {"viewport": {"width": 375, "height": 740}, "locale": "de"},
    "french-phone": {"viewport": {"width": 375, "height": 740}, "locale": "fr"},
}


def _a_day_of_calls() -> None:
    """Calls of several models, callers and outcomes, more of them by day than by night."""
    lots = random.Random(7)
    now = time()
    models = {MODEL: 1.4, "gpt-4o": 3.2, "mistral-small": 0.9}
    records = []
    for hour in range(24):
        for _ in range(30 + 70 * (6 < (now // 3600 - hour) % 24 < 20) + lots.randrange(20)):
            model = lots.choice([MODEL, MODEL, MODEL, "gpt-4o", "mistral-small"])
            outcome = lots.choices(["hit", "miss", "stale", "bypass", "failed"], [62, 30, 3, 4, 1])[
                0
            ]
            usage = {"input": lots.randrange(200, 3000), "output": lots.randrange(50, 700)}
            seconds = models[model] * lots.lognormvariate(0, 0.4)
            served = outcome in ("hit", "stale")
            records.append(
                called(
                    outcome,
                    lots.randrange(50),
                    at=now - hour * 3600 - lots.randrange(3000),
                    model=model,
                    caller=lots.choice(["search", "support", "reports"]),
                    namespace=lots.choice(["help", "shop", None]),
                    latency=0.0004 * lots.lognormvariate(0, 0.5) if served else seconds,
                    reason="" if served or outcome == "miss" else "no-cache and no-store",
                    noted=None
                    if outcome == "failed"
                    else llmcache_json(header(model=model, usage=usage, seconds=seconds)),
                )
            )
    ledger.write(records, [], lost=3)


def llmcache_json(value: object) -> bytes:
    """A header as an entry has it."""
    import orjson

    return orjson.dumps(value)


@pytest.fixture
def filled(site: None) -> None:
    """A site in use, looked at by one who may do everything."""
    User.objects.create_superuser("admin", password="secret")
    _a_day_of_calls()
    for number, question in enumerate(QUESTIONS):
        messages = [
            {"role": "system", "content": "You answer shortly, and say so when you do not know."},
            {"role": "user", "content": question},
        ]
        for _ in range(number + 1):
            llmcache.completion(
                MODEL,
                messages=messages,
                temperature=0.2,
                using=("default", "disk")[number % 2],
                cache={"namespace": "help", "tags": ["product:7"], "caller": "support"},
            )
    recorder.flush()


class Visit:
    """One page, and what went wrong on it."""

    def __init__(self, page: Page, look: str, base: str) -> None:
        self.page, self.look, self.base = page, look, base
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda said: said.type == "error" and self.problems.append(said.text))

    async def open(self, name: str, *args: object, query: str = "") -> None:
        await self.page.goto(self.base + address(name, *args) + query)
        await self.fits()

    async def fits(self) -> None:
        """The page does not scroll sideways, and nothing on it was refused by the policy."""
        # Until a new page has been laid out for the phone, it is as wide as on a desktop.
        for _ in range(100):
            wide = await self.page.evaluate("document.documentElement.scrollWidth")
            if wide <= LOOKS[self.look]["viewport"]["width"]:
                break
            await asyncio.sleep(0.05)
        assert wide <= LOOKS[self.look]["viewport"]["width"]
        language = await self.page.evaluate("document.documentElement.lang")
        assert language.startswith(LOOKS[self.look].get("locale", "en"))
        assert self.problems == []

    def says(self, english: str) -> str:
        """One of our texts in the language of the page."""
        with translation.override(LOOKS[self.look].get("locale", "en")):
            return translation.gettext(english)

    async def picture(self, name: str, *, whole: bool = True) -> None:
        """Save a screenshot if LLMCACHE_TEST_PICTURES names a directory for it."""
        directory = os.environ.get("LLMCACHE_TEST_PICTURES")
        if directory:
            path = Path(directory) / f"admin-{name}-{self.look}.png"
            await self.page.screenshot(path=path, full_page=whole)


async def visiting(browser: Browser, base: str, look: str, **more: Any) -> Visit:
    """A signed-in visit."""
    client = Client()

    def sign_in() -> None:
        client.force_login(User.objects.get(username="admin"))

    await sync_to_async(sign_in)()
    context = await browser.new_context(**LOOKS[look], **more)
    await context.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": base}
    await context.add_cookies([cookie])  # type: ignore[list-item]
    return Visit(await context.new_page(), look, base)


@pytest.fixture
async def visit(filled: None, live_server: Any, browser: Browser) -> AsyncIterator[Visit]:
    visited = await visiting(browser, live_server.url, "light")
    yield visited
    await visited.page.context.close()


@pytest.mark.parametrize("look", LOOKS)
async def test_every_page_fits_and_breaks_no_rule_of_the_policy(
    look: str, filled: None, live_server: Any, browser: Browser
) -> None:
    visit = await visiting(browser, live_server.url, look)
    entry = await sync_to_async(lambda: Entry.objects.order_by("-hits")[0])()
    for name, query in (
        ("hourlystat_changelist", ""),
        ("entry_changelist", ""),
        ("entry_changelist", "?namespace=help"),
        ("call_changelist", ""),
        ("eviction_changelist", ""),
        ("explain", ""),
        ("aliases", ""),
        ("entry_evict_matching", "?namespace=help"),
        ("clear", "?alias=default"),
    ):
        await visit.open(name, query=query)
        await visit.picture(f"{name}{'-filtered' if 'namespace' in query else ''}")
    await visit.open("entry_change", entry.pk)
    await visit.picture("entry")
    await visit.page.goto(live_server.url + "/admin/llmcache/")
    await visit.fits()
    await visit.picture("index")
    await visit.page.context.close()


async def test_a_wrong_answer_is_found_read_and_evicted(visit: Visit) -> None:
    page = visit.page
    await visit.open("entry_changelist")
    row = page.get_by_role("row", name="haiku")
    await row.get_by_role("link").first.click()
    await expect(page.locator(".llmcache-answer pre")).to_contain_text("You said")
    await page.get_by_role("button", name="Evict").click()
    await expect(page.get_by_text("1 entry was evicted.")).to_be_visible()
    await expect(page.get_by_role("row", name="haiku")).to_have_count(0)
    await page.get_by_role("link", name="Evictions", exact=True).last.click()
    await visit.fits()


async def test_ticked_entries_are_evicted(visit: Visit) -> None:
    page = visit.page
    await visit.open("entry_changelist")
    await page.get_by_label("Select all objects on this page").check()
    await page.locator("select[name=action]").select_option(label="Evict selected entries")
    await page.get_by_role("button", name="Run").or_(page.get_by_role("button", name="Go")).click()
    await expect(page.get_by_text("5 entries were evicted.")).to_be_visible()
    await visit.fits()


async def test_all_that_match_a_namespace_are_evicted_after_a_question(visit: Visit) -> None:
    page = visit.page
    await visit.open("entry_changelist", query="?alias=disk")
    await page.get_by_label("namespace").fill("help")
    await page.get_by_role("button", name="Filter").click()
    assert "alias=disk" in page.url and "namespace=help" in page.url
    await page.get_by_role("link", name="Evict all that match").click()
    await expect(page.get_by_text("2 entries will be evicted")).to_be_visible()
    await page.get_by_role("button", name="Evict them").click()
    await expect(page.get_by_text("2 entries were evicted.")).to_be_visible()
    await visit.open("entry_changelist")
    await expect(page.locator("#result_list tbody tr")).to_have_count(3)


async def test_an_entry_is_pinned_kept_for_some_hours_and_asked_again(visit: Visit) -> None:
    page = visit.page
    entry = await sync_to_async(lambda: Entry.objects.order_by("hits")[0])()
    await visit.open("entry_change", entry.pk)
    await page.get_by_role("button", name="Pin", exact=True).click()
    await expect(page.locator(".llmcache-facts")).to_contain_text("never")
    await page.get_by_label("Unpin, and keep for so many hours").fill("2")
    await page.get_by_role("button", name="Set").click()
    await expect(page.get_by_text("Ends in 2 h.")).to_be_visible()
    await page.get_by_role("button", name="Ask again").click()
    await expect(page.get_by_role("heading", name="Until now")).to_be_visible()
    await expect(page.get_by_role("heading", name="The new answer")).to_be_visible()
    await visit.picture("again")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download the answer").click()
    path = await (await download.value).path()
    assert "You said" in path.read_text()
    await visit.fits()


async def test_the_dashboard_is_narrowed_by_its_form(visit: Visit) -> None:
    page = visit.page
    await visit.open("hourlystat_changelist")
    await page.get_by_label("Caller").fill("search")
    await page.get_by_label("Period").select_option("7")
    await page.get_by_role("button", name="Show").click()
    assert "caller=search" in page.url and "days=7" in page.url
    await page.get_by_text("As a table").first.click()
    await expect(page.get_by_role("table", name="Requests by outcome")).to_be_visible()
    await visit.fits()


async def test_a_call_is_explained_without_script(
    filled: None, live_server: Any, browser: Browser
) -> None:
    visit = await visiting(browser, live_server.url, "light", java_script_enabled=False)
    page = visit.page
    await page.goto(live_server.url + address("explain"))
    request = (
        '{"model": "%s", "temperature": 0.7, "messages": [{"role": "system", "content": "You '
        'answer shortly, and say so when you do not know."}, {"role": "user", "content": "%s"}], '
        '"cache": {"namespace": "help"}}'
    )
    await page.get_by_label("Arguments as JSON").fill(request % (MODEL, QUESTIONS[0]))
    await page.get_by_role("button", name="Explain").click()
    await expect(page.get_by_role("heading", name="miss no entry")).to_be_visible()
    await expect(page.get_by_role("row", name="params.temperature").first).to_contain_text("0.2")
    await visit.picture("explained")
    hit = (request % (MODEL, QUESTIONS[0])).replace("0.7", "0.2")
    await page.get_by_label("Arguments as JSON").fill(hit)
    await page.get_by_role("button", name="Explain").click()
    await expect(page.get_by_role("heading", name="hit")).to_be_visible()
    await visit.picture("explained-hit")
    await page.context.close()


async def test_a_store_is_tested_and_cleared(visit: Visit) -> None:
    page = visit.page
    await visit.open("aliases")
    store = page.get_by_role("region", name="disk")
    await store.get_by_role("button", name="Test now").click()
    await expect(page.get_by_text("The store “disk” works")).to_be_visible()
    await visit.picture("tested")
    await store.get_by_role("link", name="Clear").click()
    await page.get_by_label("Type disk to go on").fill("disk")
    await page.get_by_role("button", name="Clear the store").click()
    await expect(page.get_by_text("The store “disk” is empty.")).to_be_visible()
    await visit.fits()


async def test_everything_can_be_reached_by_keyboard_with_the_focus_in_sight(
    visit: Visit,
) -> None:
    await visit.open("hourlystat_changelist")
    reached: set[str] = set()
    for _ in range(60):
        await visit.page.keyboard.press("Tab")
        name, outline = await visit.page.evaluate(
            """() => {
                const at = document.activeElement, style = getComputedStyle(at);
                const seen = style.outlineStyle !== "none" || style.textDecorationLine !== "none"
                    || style.boxShadow !== "none" || at.matches("input, select");
                return [at.name || at.innerText || "", seen];
            }"""
        )
        if "main" in await visit.page.evaluate(
            "() => document.activeElement.closest('main') ? 'main' : ''"
        ):
            assert outline, f"nobody sees that {name!r} has the focus"
            reached.add(name.strip())
    assert {"Explain", "days", "caller", "Show", "As a table"} <= reached
