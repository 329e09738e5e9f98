"""Evicting from stores that fail: what stayed is told, can be evicted again, and serves no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from time import time
from typing import Any

import pytest
from django.test import override_settings

import llmcache
from llmcache import backends, conf, invalidation, ledger, maintenance
from llmcache.backends.base import BaseBackend
from llmcache.exceptions import EntryGone, InvalidRequest
from llmcache.models import Entry, Eviction
from llmcache.recorder import recorder
from llmcache.store import Store
from tests.ledger.records import digest, stored

pytestmark = pytest.mark.django_db(transaction=True)
Failing = Callable[[Any, str, str], None]
DOWN = "OSError: unplugged"


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[None]:
    """A store on disk, and one in memory."""
    disk = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(tmp_path)}
    memory = {"BACKEND": "llmcache.backends.memory.MemoryBackend"}
    with override_settings(LLMCACHE={"default": disk, "memory": memory}):
        yield


@pytest.fixture
def layered(settings: Any) -> None:
    """The memory and the disk as one store."""
    settings.LLMCACHE = {
        "memory": settings.LLMCACHE["memory"],
        "disk": settings.LLMCACHE["default"],
        "default": {
            "BACKEND": "llmcache.backends.layered.LayeredBackend",
            "OPTIONS": {"layers": ["memory", "disk"]},
        },
    }


def ask(text: str = "one", **cache: Any) -> Any:
    """Where the answer to a question came from; what it brings is in the index afterwards."""
    messages = [{"role": "user", "content": text}]
    info = llmcache.completion("m", messages=messages, cache=cache).cache
    recorder.flush()
    return info


@pytest.mark.parametrize("given", [{}, {"tag": "t", "model": "m"}])
def test_not_exactly_one_criterion_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="Give exactly one of digest, tag"):
        maintenance.evict(**given)
    assert not Eviction.objects.exists()


def test_a_store_that_there_is_none_of_is_refused() -> None:
    for evict in (maintenance.evict, maintenance.clear):
        with pytest.raises(InvalidRequest, match=r"'defualt'.*Did you mean 'default'"):
            evict(alias="defualt", **({"tag": "t"} if evict is maintenance.evict else {}))
    assert not Eviction.objects.exists()


def test_an_entry_that_a_store_does_not_give_up_serves_no_more_and_can_be_evicted_again(
    failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ask().key
    failing(backends.stores["default"], "delete", "unplugged")
    done = maintenance.evict(digest=found)
    assert (done.removed, done.failed, done.problems) == (0, 1, {"default": DOWN})
    assert Entry.objects.get().digest == found
    monkeypatch.undo()
    assert ask(**{"no-store": True}).outcome == "miss"
    assert maintenance.evict(digest=found).removed == 1
    assert not Entry.objects.exists()


def test_entries_that_a_store_does_not_give_up_stay_in_the_index(
    failing: Failing, counted: Callable[[str], int]
) -> None:
    ask("one", tags=["t"])
    ask("two", tags=["t"])
    failing(backends.stores["default"], "delete_many", "unplugged")
    done = maintenance.evict(tag="t")
    assert (done.removed, done.failed, done.problems) == (0, 2, {"default": DOWN})
    assert (Entry.objects.count(), counted("evict_error")) == (2, 2)
    assert ask("one", tags=["t"], **{"no-store": True}).outcome == "miss"


@pytest.mark.parametrize("kind", ["single", "layered"])
def test_a_store_that_fails_while_it_is_cleared_serves_nothing_of_before(
    request: pytest.FixtureRequest, failing: Failing, kind: str
) -> None:
    if kind == "layered":
        request.getfixturevalue("layered")
    ask()
    assert ask().outcome == "hit"
    failing(backends.stores["default"], "clear", "unplugged")
    done = maintenance.clear("default")
    assert (done.removed, done.failed, done.problems) == (0, 1, {"default": DOWN})
    assert (ask().outcome, ask().outcome) == ("miss", "hit")


def test_a_store_that_cannot_clear_its_own_entries_alone_loses_those_that_the_index_knows(
    settings: Any, tmp_path: Path
) -> None:
    named = {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": str(tmp_path),
        "KEY_FUNCTION": lambda *parts: digest(parts),
    }
    settings.CACHES = {**settings.CACHES, "named": named}
    settings.LLMCACHE = {"default": {"LOCATION": "named"}}
    known, unknown = ask("one").key, ask("two").key
    Entry.objects.filter(digest=unknown).delete()
    assert maintenance.clear("default").removed == 1
    store = backends.stores["default"]
    assert store.get(known) is None and store.get(unknown) is not None
    assert (ask("one").outcome, ask("two").outcome) == ("miss", "miss")


# --- what other processes have evicted ---


def test_own_memory_that_fails_is_told_and_the_rest_is_evicted_all_the_same(
    layered: None,
    failing: Failing,
    counted: Callable[[str], int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = ask().key
    second = Store(_memory("second"))
    second.backend.set(found, b"copy", None)
    failing(backends.stores["memory"], "delete_many", "unplugged")
    invalidation.apply(Eviction(what="entries", digests=found))
    assert counted("evict_error") == 1
    assert "Alias 'memory' could not evict" in caplog.text
    assert second.backend.get(found) is None


def _memory(alias: str) -> BaseBackend:
    path = "llmcache.backends.memory.MemoryBackend"
    return backends.build(conf.BackendSettings(alias=alias, backend=path))


def test_what_does_not_open_in_own_memory_is_passed_over() -> None:
    with llmcache.enable_cache(type="local"):
        found = ask(tags=["t"]).key
        own = llmcache.cache.backend
        own.set("0" * 64, b"damaged", None)
        maintenance.evict(tag="t", alias="local")
        assert own.get(found) is None and own.get("0" * 64) == b"damaged"


def test_an_eviction_from_a_store_that_cannot_be_made_here_is_remembered_all_the_same() -> None:
    with override_settings(LLMCACHE={"default": {}, "broken": {"BACKEND": "nowhere.Backend"}}):
        invalidation.apply(Eviction(what="entries", alias="broken", digests="0" * 64))
        assert ask().outcome == "miss"


def test_an_answer_is_evicted_from_the_stores_that_there_are(
    counted: Callable[[str], int],
) -> None:
    with override_settings(LLMCACHE={"broken": {"BACKEND": "nowhere.Backend"}, "default": {}}):
        found = ask().key
        done = maintenance.evict(digest=found)
        assert (done.removed, done.failed, list(done.problems)) == (1, 1, ["broken"])
        assert counted("evict_error") == 1
        assert ask().outcome == "miss"


def test_an_eviction_of_what_a_filter_found_names_nothing_that_came_since() -> None:
    begun = stored(1, created=time(), seconds=60.0)
    maintenance.evict_entries(Entry.objects.all(), what="all")
    ledger.write([], [begun])
    assert Entry.objects.count() == 1


def test_an_evicted_entry_that_arrives_at_a_store_that_fails_stays_to_be_evicted(
    failing: Failing, counted: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    begun = stored(1, tags=["t"], created=time(), seconds=60.0)
    maintenance.evict(tag="t")
    failing(backends.stores["default"], "delete", "unplugged")
    ledger.write([], [begun])
    assert (Entry.objects.count(), counted("evict_error")) == (1, 1)
    assert "Alias 'default' could not evict: unplugged" in caplog.text


# --- one entry ---


def test_an_entry_of_a_store_that_does_not_answer_cannot_be_read_or_changed(
    failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask()
    entry = Entry.objects.get()
    failing(backends.stores["default"], "set", "unplugged")
    with pytest.raises(EntryGone, match="does not answer: unplugged"):
        maintenance.pin(entry)
    failing(backends.stores["default"], "get", "unplugged")
    for change in (maintenance.payload, maintenance.pin):
        with pytest.raises(EntryGone, match="The store 'default' does not answer: unplugged"):
            change(entry)
    assert not Entry.objects.get().pinned


def test_an_entry_that_does_not_open_says_so() -> None:
    backends.stores["default"].set(ask().key, b"damaged", None)
    with pytest.raises(EntryGone, match="cannot be opened: damaged"):
        maintenance.payload(Entry.objects.get())


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_ttl_that_is_none_is_refused(seconds: float) -> None:
    ask()
    with pytest.raises(InvalidRequest, match="above 0"):
        maintenance.set_ttl(Entry.objects.get(), seconds)
