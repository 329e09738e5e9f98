"""`llmcache_evict` removes entries that have one thing in common, after asking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmcache import backends
from llmcache.models import Entry, Eviction

pytestmark = pytest.mark.django_db


@pytest.fixture
def entries(site: Path, ask: Any) -> None:
    ask("one", tags=["daily"], namespace="shop")
    ask("two", tags=["daily"], scope="tenant")
    ask("three")


def left() -> list[str]:
    return sorted(Entry.objects.values_list("preview", flat=True))


@pytest.mark.parametrize(
    ("arguments", "stay"),
    [
        (["--tag", "daily"], ["three"]),
        (["--namespace", "shop"], ["three", "two"]),
        (["--scope", "tenant"], ["one", "three"]),
        (["--model", "m"], []),
        (["--model", "m", "--alias", "memory"], ["one", "three", "two"]),
        (["--all", "--alias", "default"], []),
        (["--all"], []),
    ],
    ids=" ".join,
)
def test_entries_go_by_what_they_have_in_common(
    run: Any, ask: Any, entries: None, arguments: list[str], stay: list[str]
) -> None:
    assert run("evict", "--no-input", *arguments).code == 0
    assert left() == stay
    assert len(list(backends.stores["default"].iterate())) == len(stay)


def test_an_entry_goes_by_the_beginning_of_its_digest(run: Any, ask: Any, entries: None) -> None:
    digest = ask("one", namespace="shop").cache.key
    assert run("evict", "--no-input", "--digest", digest[:12]).out == "Removed 1 entry.\n"
    assert left() == ["three", "two"]


def test_a_beginning_that_several_digests_share_is_not_enough(run: Any, entries: None) -> None:
    Entry.objects.create(alias="default", digest="ab" + "0" * 62, size=1, created="2026-01-01T00Z")
    Entry.objects.create(alias="default", digest="ab" + "1" * 62, size=1, created="2026-01-01T00Z")
    done = run("evict", "--no-input", "--digest", "ab")
    assert done.code == 2
    assert "ab" + "1" * 62 in done.err
    assert run("evict", "--no-input", "--digest", "zz").code == 2


def test_the_log_tells_who_removed_them_and_why(run: Any, entries: None) -> None:
    run("evict", "--no-input", "--tag", "daily", "--reason", "wrong price")
    operation = Eviction.objects.operations().get()
    assert operation.reason == "wrong price"
    assert "llmcache_evict" in operation.by


@pytest.mark.parametrize(("answer", "number"), [("y", 1), ("YES", 1), ("n", 3), ("", 3)])
def test_nothing_goes_without_a_yes(
    run: Any, entries: None, monkeypatch: pytest.MonkeyPatch, answer: str, number: int
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or answer)
    run("evict", "--tag", "daily")
    assert Entry.objects.count() == number
    assert "entries with tag 'daily': the index knows of 2 entries" in asked[0]


def test_a_dry_run_removes_nothing(run: Any, entries: None) -> None:
    done = run("evict", "--tag", "daily", "--dry-run")
    assert "the index knows of 2 entries" in done.out
    assert len(left()) == 3


def test_entries_whose_store_fails_stay_and_are_counted(
    run: Any, entries: None, failing: Any
) -> None:
    failing(backends.stores["default"], "delete_many", "read-only")
    done = run("evict", "--no-input", "--tag", "daily")
    assert done.code == 1
    assert "2 entries stayed" in done.err and "default: OSError: read-only" in done.err
    assert len(left()) == 3


@pytest.mark.parametrize(
    "wrong", [["--tag", ""], ["--tag", "x", "--alias", "defualt"], []], ids=" ".join
)
def test_wrong_usage_is_told(run: Any, site: Path, wrong: list[str]) -> None:
    assert run("evict", "--no-input", *wrong).code != 0


def test_a_whole_digest_that_the_index_lacks_is_taken_as_it_is(
    run: Any, ask: Any, entries: None
) -> None:
    digest = ask("four").cache.key
    Entry.objects.filter(digest=digest).delete()
    run("evict", "--no-input", "--digest", digest)
    assert ask("four").cache.outcome == "miss"


def test_a_user_without_a_name_removes_entries_all_the_same(
    run: Any, entries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 9)  # as a container's may be
    run("evict", "--no-input", "--tag", "daily")
    assert set(Eviction.objects.operations().values_list("by", flat=True)) == {"llmcache_evict"}
