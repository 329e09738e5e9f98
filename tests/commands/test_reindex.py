"""`llmcache_reindex` makes the index anew from what the stores have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
from django.test import override_settings

from llmcache import backends, reindexing
from llmcache.models import Entry
from tests.ledger.records import digest
from tests.servers.ports import free_port

pytestmark = pytest.mark.django_db


def test_entries_that_the_index_lost_are_found_again(run: Any, site: Path, ask: Any) -> None:
    ask("one", tags=["daily"], namespace="shop", ttl=600)
    fields = ("digest", "model", "namespace", "size", "input_tokens", "created", "expires")
    before = Entry.objects.values_list(*fields).get()
    Entry.objects.all().delete()
    assert run("reindex").out == "default: 1 entry seen, 1 indexed\n"
    assert Entry.objects.values_list(*fields).get() == before
    assert Entry.objects.get().tags.get().name == "daily"
    assert run("reindex").out == "default: 1 entry seen, 0 indexed\n"


def test_rows_that_are_there_keep_their_prompts_and_hits(run: Any, site: Path, ask: Any) -> None:
    ask("one")
    ask("one")
    before = Entry.objects.values().get()
    assert before["hits"] == 1 and before["material"]
    run("reindex")
    assert Entry.objects.values().get() == before


def test_a_row_older_than_its_entry_is_renewed_and_keeps_its_prompt(
    run: Any, site: Path, ask: Any
) -> None:
    ask("one")
    Entry.objects.update(created="2020-01-01T00Z")
    assert "1 indexed" in run("reindex").out
    entry = Entry.objects.get()
    assert entry.created.year > 2020
    assert entry.preview == "one" and entry.material


def test_rows_whose_entry_is_gone_go_only_when_asked(run: Any, site: Path, ask: Any) -> None:
    ask("stays")
    backends.stores["default"].delete(ask("gone").cache.key)
    run("reindex")
    assert Entry.objects.count() == 2
    assert (
        "1 row of entries that are gone would be deleted"
        in run("reindex", "--prune", "--dry-run").out
    )
    assert Entry.objects.count() == 2
    assert "1 row of entries that are gone deleted" in run("reindex", "--prune").out
    assert Entry.objects.get().preview == "stays"


def test_entries_that_do_not_open_are_counted_and_not_indexed(
    run: Any, site: Path, ask: Any
) -> None:
    ask("one")
    backends.stores["default"].set("0" * 64, b"damaged", None)
    assert run("reindex").out == "default: 2 entries seen, 0 indexed, 1 do not open\n"


def test_a_dry_run_writes_no_row(run: Any, site: Path, ask: Any) -> None:
    ask("one")
    Entry.objects.all().delete()
    assert run("reindex", "--dry-run").out == "default: 1 entry seen, 1 would be indexed\n"
    assert not Entry.objects.exists()


def test_a_store_in_another_processs_memory_is_refused_and_its_rows_stay(
    run: Any, site: Path, ask: Any
) -> None:
    Entry.objects.create(alias="memory", digest="0" * 64, size=1, created="2026-01-01T00Z")
    done = run("reindex", "--prune", "--alias", "memory")
    assert done.code == 2
    assert "in the memory of each process" in done.err
    assert "memory" not in run("reindex", "--prune").out
    assert Entry.objects.filter(alias="memory").exists()


def test_a_layer_of_another_store_is_indexed_as_that_store(run: Any, site: Path, ask: Any) -> None:
    from django.conf import settings

    layered = {
        "default": {
            "BACKEND": "llmcache.backends.layered.LayeredBackend",
            "OPTIONS": {"layers": ["memory", "disk"]},
        },
        "memory": settings.LLMCACHE["memory"],
        "disk": settings.LLMCACHE["default"],
    }
    with override_settings(LLMCACHE=layered):
        ask("one")
        Entry.objects.all().delete()
        assert run("reindex").out == "default: 1 entry seen, 1 indexed\n"
    assert Entry.objects.get().alias == "default"


def test_a_store_that_fails_is_named(run: Any, site: Path, ask: Any, failing: Any) -> None:
    ask("one")
    failing(backends.stores["default"], "get_many", "unplugged")
    done = run("reindex", "--prune")
    assert done.code == 1
    assert "default: OSError: unplugged" in done.err
    assert Entry.objects.count() == 1


def test_rows_stay_while_a_layer_cannot_say_whether_it_has_their_entries(
    site: Path, ask: Any
) -> None:
    ask("one")
    gone = f"redis://127.0.0.1:{free_port()}"
    layers = {
        "default": {
            "BACKEND": "llmcache.backends.layered.LayeredBackend",
            "OPTIONS": {"layers": ["near", "far"]},
        },
        "near": {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(site / "b")},
        "far": {"BACKEND": "llmcache.backends.redis.RedisBackend", "LOCATION": gone},
    }
    with override_settings(LLMCACHE=layers), pytest.raises(redis.RedisError):
        list(reindexing.prune("default"))
    assert Entry.objects.count() == 1


def test_a_site_whose_stores_are_all_in_memory_has_nothing_to_list(run: Any) -> None:
    memory = {"BACKEND": "llmcache.backends.memory.MemoryBackend"}
    with override_settings(LLMCACHE={"default": memory}):
        assert run("reindex").out == "No store can list its entries to another process.\n"


def test_a_store_that_cannot_list_its_entries_is_wrong_usage(run: Any, tmp_path: Path) -> None:
    named = {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": str(tmp_path),
        "KEY_FUNCTION": lambda *parts: digest(parts),
    }
    with override_settings(CACHES={"default": named}, LLMCACHE={"default": {}}):
        done = run("reindex", "--alias", "default")
    assert done.code == 2 and "'default' cannot list its entries" in done.err
