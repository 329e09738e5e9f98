"""The page of stores: what each is and can, whether it works, and emptying it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client, override_settings

from llmcache import events, probing
from llmcache.backends import stores
from llmcache.caching import for_alias
from llmcache.models import Entry, Eviction
from tests.admin.conftest import Ask, Person, address, words

pytestmark = pytest.mark.django_db


def page(client: Client) -> str:
    """The words of the page."""
    return words(client.get(address("aliases")).content.decode())


def test_each_store_says_what_it_is_and_can(admin_client: Client, ask: Ask, tmp_path: Path) -> None:
    entry = ask()
    text = page(admin_client)
    default = text.partition("default in use")[2].partition("disk in use")[0]
    assert "Class DjangoLocMemBackend" in default or "LocMem" in default
    assert "Keeps entries for 60 min" in default
    assert f"Entries in the index 1 Their size {entry.size} B" in default
    assert "Shared by all processes ✗ no" in default
    disk = text.partition("disk in use")[2].partition("memory in use")[0]
    assert str(tmp_path / "answers") in disk and "Entries are signed ✓ yes" in disk
    assert "Layers memory → disk" in text


def test_a_store_that_cannot_be_used_says_why_and_the_others_are_shown(
    admin_client: Client,
) -> None:
    broken = {"BACKEND": "llmcache.backends.nowhere.Nothing"}
    with override_settings(LLMCACHE={"default": {}, "broken": broken}):
        text = page(admin_client)
    assert "default in use" in text and "nowhere" in text.partition("broken")[2]


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("redis://user:secret@cache:6379/0", "redis://cache:6379/0"),
        ("redis://:secret@a:1,redis://:secret@b:2", "redis://a:1, redis://b:2"),
        ("rediss://cache:6379?password=secret", "rediss://cache:6379"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("/var/cache/llm", "/var/cache/llm"),
        ("redis://user:se/cret@cache:6379/0", "redis://cache:6379/0"),
        ("redis://user:se#cr?et@cache:6379/0", "redis://cache:6379/0"),
    ],
)
def test_locations_are_shown_without_secrets(location: str, shown: str) -> None:
    assert probing.without_secrets(location) == shown


def test_what_this_process_has_counted_is_shown(admin_client: Client) -> None:
    events.count("unreadable", 3)
    number = events.counts()["unreadable"]
    assert f"unreadable {number}" in page(admin_client)


def test_a_store_that_is_left_alone_says_so(admin_client: Client) -> None:
    cache = for_alias("disk")
    assert cache is not None
    for _ in range(100):
        cache.breaker.failed()
    assert "disk left alone for a while, as it failed" in page(admin_client)


@pytest.mark.parametrize("alias", ["default", "disk", "memory", "tiered"])
def test_a_store_is_tested_by_a_probe_that_leaves_nothing(
    alias: str, admin_client: Client, tmp_path: Path
) -> None:
    response = admin_client.post(address("probe"), {"alias": alias}, follow=True)
    text = words(response.content.decode())
    assert f"The store “{alias}” works: write" in text and "delete" in text
    if stores[alias].supports_iterate:
        assert list(stores[alias].iterate()) == []


def test_a_store_that_fails_its_test_says_how(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(stores["disk"], "set", broken)
    response = admin_client.post(address("probe"), {"alias": "disk"}, follow=True)
    assert "“disk” failed: OSError: no space left" in words(response.content.decode())


def test_a_store_that_forgets_at_once_fails_its_test(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores["disk"], "get", lambda digest: None)
    response = admin_client.post(address("probe"), {"alias": "disk"}, follow=True)
    assert "was not there when it was read" in words(response.content.decode())


def test_clearing_asks_for_the_alias_and_takes_only_post(admin_client: Client, ask: Ask) -> None:
    entry, other = ask(), ask(using="disk")
    url = address("clear") + "?alias=default"
    assert "1 entry that the index knows" in words(admin_client.get(url).content.decode())
    wrong = admin_client.post(url, {"alias": "default", "typed": "disk"})
    assert "That is not the store's alias" in words(wrong.content.decode())
    assert Entry.objects.count() == 2
    done = admin_client.post(url, {"alias": "default", "typed": "default"}, follow=True)
    assert "The store “default” is empty." in words(done.content.decode())
    assert list(Entry.objects.all()) == [other]
    assert stores["default"].get(entry.digest) is None
    assert LogEntry.objects.get().object_repr == "default"
    operation = Eviction.objects.operations().get()
    assert (operation.what, operation.by) == ("alias", "admin")


def test_a_store_that_does_not_exist_is_not_found(admin_client: Client) -> None:
    assert admin_client.post(address("probe"), {"alias": "nowhere"}).status_code == 404
    assert admin_client.get(address("clear") + "?alias=nowhere").status_code == 404


def test_clearing_needs_its_own_right(person: Person) -> None:
    looker = person("view_entry")
    url = address("clear") + "?alias=default"
    assert "Clear" not in page(looker)
    assert looker.get(url).status_code == 403
    assert looker.post(url, {"alias": "default", "typed": "default"}).status_code == 403
    assert looker.get(address("probe")).status_code == 405
    cleaner = person("view_entry", "clear_cache")
    assert "Clear" in page(cleaner) and cleaner.get(url).status_code == 200


def test_a_store_that_cannot_be_cleared_says_so(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Any:
        raise OSError("read-only file system")

    monkeypatch.setattr(stores["disk"], "clear", broken)
    data = {"alias": "disk", "typed": "disk"}
    response = admin_client.post(address("clear"), data, follow=True)
    assert "“disk” was not cleared: OSError: read-only" in words(response.content.decode())
    assert not LogEntry.objects.exists()
