"""Virtual keys in the admin: made, renewed and stopped; their tokens shown once."""

from __future__ import annotations

import re
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from playwright.async_api import Browser, expect

from llmcache.models import VirtualKey
from llmcache.virtual_keys import hashed
from tests.admin.conftest import Person, address
from tests.admin.test_in_the_browser import LOOKS, visiting

FORM: dict[str, Any] = {
    "name": "Shop",
    "is_active": "on",
    "scope": "",
    "namespace": "",
    "alias": "",
    "allowed_models": '["gpt-4o*"]',
    "allowed_controls": '["ttl"]',
    "requests_per_minute": "60",
    "budget": "5",
    "budget_period": "day",
}


def token_in(response: Any) -> str:
    found = re.search(r'value="(llmc-[\w-]+)"', response.content.decode())
    assert found is not None
    return found[1]


def test_a_new_keys_token_is_shown_once_and_kept_nowhere(admin_client: Client) -> None:
    response = admin_client.post(address("virtualkey_add"), FORM)
    token = token_in(response)
    assert "no-store" in response["Cache-Control"]
    key = VirtualKey.objects.get()
    assert key.digest == hashed(token)
    assert token.startswith(key.shown)
    assert key.created_by == "admin"
    assert key.allowed_models == ["gpt-4o*"]
    pages = [address("virtualkey_changelist"), address("virtualkey_change", key.pk)]
    for page in pages:
        shown = admin_client.get(page).content.decode()
        assert token not in shown
        assert key.shown in shown
    assert token not in str(list(LogEntry.objects.values()))
    assert "messages" not in response.cookies


def test_saving_leaves_the_token_and_renewing_changes_it(admin_client: Client) -> None:
    token = token_in(admin_client.post(address("virtualkey_add"), FORM))
    key = VirtualKey.objects.get()
    page = address("virtualkey_change", key.pk)
    assert "Save with a new token" in admin_client.get(page).content.decode()
    assert admin_client.post(page, {**FORM, "budget": "7"}).status_code == 302
    key.refresh_from_db()
    assert (key.digest, key.budget) == (hashed(token), 7)
    renewed = token_in(admin_client.post(page, {**FORM, "_renew": "1"}))
    key.refresh_from_db()
    assert renewed != token
    assert key.digest == hashed(renewed)


def test_keys_are_stopped_by_an_action(admin_client: Client) -> None:
    admin_client.post(address("virtualkey_add"), FORM)
    key = VirtualKey.objects.get()
    chosen = {"action": "stop", "_selected_action": [key.pk]}
    admin_client.post(address("virtualkey_changelist"), chosen)
    key.refresh_from_db()
    assert not key.is_active
    assert LogEntry.objects.filter(object_id=str(key.pk)).count() == 2


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("allowed_controls", '["scope"]', "Unknown: scope"),
        ("allowed_models", '"gpt"', "list of texts"),
        ("alias", "nowhere", "no such alias"),
        ("budget", "-1", "cannot be negative"),
    ],
)
def test_what_cannot_be_is_said_at_its_field(
    admin_client: Client, field: str, value: str, words: str
) -> None:
    response = admin_client.post(address("virtualkey_add"), {**FORM, field: value})
    assert words in response.content.decode()
    assert not VirtualKey.objects.exists()


def test_who_may_only_look_changes_nothing(person: Person, admin_client: Client) -> None:
    admin_client.post(address("virtualkey_add"), FORM)
    key = VirtualKey.objects.get()
    reader = person("view_virtualkey")
    page = address("virtualkey_change", key.pk)
    assert reader.get(page).status_code == 200
    assert "Save with a new token" not in reader.get(page).content.decode()
    assert reader.post(page, {**FORM, "_renew": "1"}).status_code == 403
    digest = key.digest
    key.refresh_from_db()
    assert key.digest == digest


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("look", LOOKS)
async def test_the_pages_fit_and_break_no_rule_of_the_policy(
    look: str, site: None, live_server: Any, browser: Browser
) -> None:
    def fill() -> int:
        User.objects.create_superuser("admin", password="secret")
        keys = [
            VirtualKey(name=name, shown=f"llmc-{name:.6}", digest=name, scope=scope, budget=budget)
            for name, scope, budget in (("shop", "tenant-1", 25.0), ("notebooks", "", None))
        ]
        VirtualKey.objects.bulk_create(keys)
        return VirtualKey.objects.get(name="shop").pk

    pk = await sync_to_async(fill)()
    visit = await visiting(browser, live_server.url, look)
    for name, arguments in (
        ("virtualkey_changelist", ()),
        ("virtualkey_change", (pk,)),
        ("virtualkey_add", ()),
    ):
        await visit.open(name, *arguments)
        await visit.picture(name)
    await visit.page.locator("[name=name]").fill("reports")
    await visit.page.locator("[name=_save]").click()
    shown = visit.page.get_by_label(visit.says("Token"))
    await expect(shown).to_have_value(re.compile("^llmc-"))
    await visit.fits()
    await visit.picture("token")
    await visit.page.context.close()
