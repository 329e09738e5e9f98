"""How the pages over matching look, and hostile texts on them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client
from playwright.async_api import Browser, expect

from llmcache.matching import observing
from llmcache.models import Entry, MatchedPair
from llmcache.recorder import recorder
from llmcache.text import clean
from tests.admin.conftest import address
from tests.admin.pairs import MODEL, NUMBERS, SIMILAR, STORED, ask, decided
from tests.admin.test_hostile_text import HOSTILE, harmless
from tests.admin.test_in_the_browser import LOOKS, visiting

pytestmark = pytest.mark.usefixtures("semantic_site")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_prompts_are_shown_as_they_are(text: str, admin_client: Client, db: None) -> None:
    said = text.encode("utf-8", "replace").decode()
    ask(f"{said} {STORED}")
    ask(f"{said} {SIMILAR}")
    recorder.flush()
    observing.flush()
    if not MatchedPair.objects.exists():  # a guard has objected
        decided(1, False, asked=clean(text), stored=clean(text), model=clean(text))
    MatchedPair.objects.update(same=False, whole=True, decided_by=clean(text))
    row = MatchedPair.objects.get()
    harmless(admin_client.get(address("matchedpair_changelist")))
    harmless(admin_client.get(address("matchedpair_change", row.pk)))
    harmless(admin_client.get(address("threshold"), {"pairs": "decided"}))
    for entry in Entry.objects.all():
        harmless(admin_client.get(address("entry_change", entry.pk) + "?neighbours=1"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("look", LOOKS)
async def test_the_pages_fit_and_break_no_rule_of_the_policy(
    look: str, live_server: Any, browser: Browser
) -> None:
    def fill() -> tuple[int, int]:
        User.objects.create_superuser("admin", password="secret")
        for text in (*NUMBERS, STORED, SIMILAR, "What is the capital of France?"):
            ask(text)
        recorder.flush()
        observing.flush()
        for number in range(30):
            decided(number, number % 9 > 0, how=("audit", "shadow")[number % 2])
        entry = Entry.objects.get(preview=NUMBERS[0])
        return entry.pk, MatchedPair.objects.get(how="served").pk

    entry, row = await sync_to_async(fill)()
    visit = await visiting(browser, live_server.url, look)
    for name, arguments, query in (
        ("matchedpair_changelist", (), ""),
        ("matchedpair_change", (row,), ""),
        ("threshold", (), ""),
        ("threshold", (), "?pairs=sample&threshold=0.8"),
        ("entry_change", (entry,), "?neighbours=1"),
    ):
        await visit.open(name, *arguments, query=query)
        await visit.picture(f"similar-{name}{'-measured' if 'pairs' in query else ''}")
    await visit.open("explain")
    asked = {"model": MODEL, "messages": [{"role": "user", "content": NUMBERS[0] + " now"}]}
    await visit.page.get_by_label(visit.says("Arguments as JSON")).fill(json.dumps(asked))
    await visit.page.get_by_label(visit.says("Threshold to try")).fill("0.9")
    await visit.page.get_by_role("button", name=visit.says("Explain")).click()
    caption = visit.says("The nearest prompts; from %(threshold)s on one may serve")
    near = visit.page.get_by_role("table", name=caption % {"threshold": "0.900"})
    await expect(near.get_by_role("row", name=visit.says("would serve"))).to_have_count(1)
    await visit.fits()
    await visit.picture("similar-explain")
    await visit.page.context.close()


@pytest.mark.django_db(transaction=True)
async def test_the_slider_measures_when_it_is_let_go(live_server: Any, browser: Browser) -> None:
    await sync_to_async(User.objects.create_superuser)("admin", password="secret")
    await sync_to_async(decided)(1, True)
    visit = await visiting(browser, live_server.url, "light")
    await visit.open("threshold")
    await visit.page.get_by_role("slider").fill("0.95")
    await expect(visit.page.get_by_text("this threshold", exact=True)).to_be_visible()
    await visit.page.wait_for_url("**threshold=0.95**")
    await expect(visit.page.locator("output")).to_have_text("0.950")
    await visit.fits()
    await visit.page.context.close()


@pytest.mark.django_db(transaction=True)
async def test_a_threshold_is_tried_by_keyboard(live_server: Any, browser: Browser) -> None:
    await sync_to_async(User.objects.create_superuser)("admin", password="secret")
    await sync_to_async(decided)(1, True)
    visit = await visiting(browser, live_server.url, "light")
    await visit.open("threshold")
    await visit.page.get_by_role("slider").focus()
    await visit.page.keyboard.press("ArrowRight")
    await visit.page.wait_for_url("**threshold=0.705**")
    await expect(visit.page.get_by_text("this threshold", exact=True)).to_be_visible()
    await visit.page.context.close()


@pytest.mark.django_db(transaction=True)
async def test_a_threshold_is_tried_and_a_pair_rejected_without_script(
    live_server: Any, browser: Browser
) -> None:
    await sync_to_async(User.objects.create_superuser)("admin", password="secret")
    row = await sync_to_async(decided)(1, True)
    visit = await visiting(browser, live_server.url, "light", java_script_enabled=False)
    page = visit.page
    await page.goto(live_server.url + address("threshold"))
    await page.get_by_role("slider").fill("0.95")
    await page.get_by_role("button", name="Measure").click()
    await expect(page.get_by_role("row", name="this threshold 0.950 0 %")).to_be_visible()
    await page.goto(live_server.url + address("matchedpair_change", row.pk))
    await page.get_by_role("button", name="Not the same: reject").click()
    await expect(page.get_by_text("1 pair was decided.")).to_be_visible()
    await expect(page.get_by_text("no: rejected")).to_be_visible()
    await page.context.close()
