"""The pictures of the admin: each is used, each can be taken anew, of pages that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.test import Client, override_settings

from example_project.pictures import a_day
from example_project.pictures.__main__ import PICTURES, addresses_of, site_settings
from tests.docs.blocks import PAGES, ROOT


def test_every_picture_is_taken_by_the_script_and_shown_by_a_page() -> None:
    there = {path.stem for path in (ROOT / "docs" / "pictures").glob("*.png")}
    shown = {
        name
        for page in PAGES.values()
        for name in re.findall(r"!\[[^\]]+\]\((?:docs/)?pictures/([\w-]+)\.png\)", page.read_text())
    }
    assert there == shown == PICTURES.keys()


@pytest.mark.django_db(transaction=True)
def test_the_pages_of_the_pictures_open_over_their_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with override_settings(**site_settings(a_day.ANSWERS)):
        a_day.fill()
        staff = Client()
        staff.force_login(get_user_model().objects.get(username=a_day.STAFF))
        slow = "threshold"  # it embeds the sample; tests of its own are in tests/admin
        found = {name: staff.get(at) for name, at in addresses_of().items() if name != slow}
    assert {name for name, page in found.items() if page.status_code != 200} == set()
    assert next(iter(a_day.ANSWERS)) in found["entries"].content.decode()
