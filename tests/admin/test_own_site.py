"""The pages in an admin site of one's own, and pages changed by a subclass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import path

from llmcache.admin import EntryAdmin, register
from llmcache.models import Entry
from tests.admin.conftest import Ask

OPS = admin.AdminSite(name="ops")
register(OPS)
OPS.unregister(Entry)


@admin.register(Entry, site=OPS)
class ShortEntryAdmin(EntryAdmin):
    """Entries with two columns."""

    list_display = ("short_digest", "shown_model")


urlpatterns = [path("admin/", admin.site.urls), path("ops/", OPS.urls)]


@pytest.fixture
def client(db: None) -> Iterator[Client]:
    """One who may do everything, on a site with both admins."""
    signed_in = Client()
    signed_in.force_login(User.objects.create_superuser("admin"))
    with override_settings(ROOT_URLCONF=__name__):
        yield signed_in


def test_all_links_and_forms_stay_in_that_site(client: Client, ask: Ask) -> None:
    entry = ask()
    places = ["", "entry/", "call/", "hourlystat/", "eviction/", f"entry/{entry.pk}/change/"]
    places += ["hourlystat/explain/", "hourlystat/stores/", "entry/evict-matching/"]
    for place in places:
        response = client.get(f"/ops/llmcache/{place}")
        assert response.status_code == 200
        assert "/admin/llmcache/" not in response.content.decode(), place
    gone = client.post(f"/ops/llmcache/entry/{entry.pk}/evict/")
    assert gone.status_code == 302 and gone["Location"] == "/ops/llmcache/entry/"
    tested = client.post("/ops/llmcache/hourlystat/stores/test/", {"alias": "default"})
    assert tested["Location"] == "/ops/llmcache/hourlystat/stores/"


def test_a_subclass_changes_the_list(client: Client, ask: Ask) -> None:
    ask("which bread?")
    page = client.get("/ops/llmcache/entry/").content.decode()
    assert "column-shown_model" in page and "which bread?" not in page
    assert "which bread?" in client.get("/admin/llmcache/entry/").content.decode()
