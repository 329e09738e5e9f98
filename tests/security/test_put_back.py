"""Whoever can write to a shared store can put back what was evicted from it, signed as it was: it
does not serve again, in any process that reads the eviction log."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone

import llmcache
from llmcache import backends, invalidation, maintenance, recorder, tombstones
from llmcache.envelope import Envelope
from llmcache.models import Entry, Eviction
from llmcache.tombstones import ALL, EVERYWHERE, RESEALED, Tombstones

pytestmark = pytest.mark.django_db
ASK = {"model": "m", "messages": [{"role": "user", "content": "What is ambergris?"}]}
CACHE = {"tags": ["whales"], "namespace": "sea"}


def disk(request: pytest.FixtureRequest, place: Path) -> dict[str, Any]:
    return {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(place)}


def redis(request: pytest.FixtureRequest, place: Path) -> dict[str, Any]:
    return {
        "BACKEND": "llmcache.backends.redis.RedisBackend",
        "LOCATION": request.getfixturevalue("redis_server").url,
        "KEY_PREFIX": str(place),
    }


def s3(request: pytest.FixtureRequest, place: Path) -> dict[str, Any]:
    server = request.getfixturevalue("s3_server")
    return {
        "BACKEND": "llmcache.backends.s3.S3Backend",
        "LOCATION": f"s3://{server.bucket}/{place.name}-{time.time_ns()}",
        "OPTIONS": server.options,
    }


def similar(request: pytest.FixtureRequest, place: Path) -> dict[str, Any]:
    return {
        "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
        "LOCATION": str(place),
        "OPTIONS": {"embedder": "tests.matching.words.WordEmbedder"},
    }


STORES = {"disk": disk, "redis": redis, "s3": s3, "similar": similar, "layered": disk}


@pytest.fixture(params=sorted(STORES))
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The alias of the store that others can write to; of the settings' default, or below it."""
    store, alias = STORES[request.param](request, tmp_path / "place"), "default"
    stores = {"default": store}
    if request.param == "layered":
        alias = "far"
        stores = {
            "near": {"BACKEND": "llmcache.backends.memory.MemoryBackend"},
            "far": store,
            "default": {
                "BACKEND": "llmcache.backends.layered.LayeredBackend",
                "OPTIONS": {"layers": ["near", "far"]},
            },
        }
    config = {"BACKEND_TIMEOUT": 5.0, "SCOPE": lambda: "ahab"}
    with override_settings(LLMCACHE=stores, LLMCACHE_CONFIG=config):
        yield alias


def ask(door: Any, **changes: Any) -> Any:
    response = door.completion(**{**ASK, **changes}, cache=CACHE)
    recorder.flush()
    return response


def stored(alias: str, digest: str) -> bytes:
    data = backends.stores[alias].get(digest)
    assert data is not None
    return data


def put_back(alias: str, digest: str, data: bytes) -> None:
    backends.stores[alias].set(digest, data, 3600)
    assert stored(alias, digest) == data


def as_in_a_new_process() -> None:
    tombstones.tombstones.forget()
    invalidation.Poller().poll()


@pytest.mark.parametrize(
    "by", ["digest", "tag", "namespace", "scope", "model", "filter", "clear", "its layer"]
)
def test_what_was_evicted_and_put_back_is_a_miss(
    door: Any, shared: str, by: str, counted: Callable[[str], int]
) -> None:
    first = ask(door)
    digest = first.cache.key
    data = stored(shared, digest)
    value = {"digest": digest, "tag": "whales", "namespace": "sea", "scope": "ahab", "model": "m"}
    if by == "filter":
        maintenance.evict_entries(Entry.objects.all())
    elif by == "clear":
        maintenance.clear("default")
    elif by == "its layer":
        llmcache.evict(digest=digest, alias=shared)
    else:
        llmcache.evict(**{by: value[by]})
    for number in (1, 2):
        put_back(shared, digest, data)
        again = ask(door)
        assert (again.cache.outcome, counted("put_back")) == ("miss", number)
        assert again.id != first.id
        assert ask(door).id == again.id  # what was asked since then serves
        as_in_a_new_process()


def test_a_similar_question_is_not_answered_by_what_was_put_back(
    door: Any, tmp_path: Path, request: pytest.FixtureRequest, counted: Callable[[str], int]
) -> None:
    config = {"SCOPE": lambda: "ahab"}
    store = similar(request, tmp_path)
    with override_settings(LLMCACHE={"default": store}, LLMCACHE_CONFIG=config):
        first = ask(door)
        backend: Any = backends.stores["default"]
        data = stored("default", first.cache.key)
        turned = [{"role": "user", "content": "ambergris? What is"}]
        assert ask(door, messages=turned).id == first.id
        llmcache.evict(digest=first.cache.key)
        put_back("default", first.cache.key, data)
        assert ask(door, messages=turned).id != first.id
        assert backend.get(first.cache.key) == data


def test_what_staff_have_kept_serves_and_what_it_was_before_does_not(
    door: Any, shared: str, counted: Callable[[str], int]
) -> None:
    first = ask(door)
    digest = first.cache.key
    before = stored(shared, digest)
    entry = Entry.objects.get(digest=digest)
    maintenance.set_ttl(entry, 100)
    as_in_a_new_process()
    assert ask(door).id == first.id
    backends.stores["default"].delete(digest)
    put_back(shared, digest, before)
    assert ask(door).id != first.id
    assert counted("put_back") == 1


def test_what_staff_have_imported_after_its_eviction_serves(
    door: Any, shared: str, tmp_path: Path
) -> None:
    first = ask(door)
    file = tmp_path / "entries.jsonl"
    call_command("llmcache_export", str(file), stdout=StringIO())
    llmcache.evict(tag="whales")
    call_command("llmcache_import", str(file), stdout=StringIO())
    as_in_a_new_process()
    assert ask(door).id == first.id


@pytest.mark.parametrize("by", ["clear", "tag", "namespace", "scope", "model"])
def test_what_the_index_did_not_know_when_it_was_evicted_is_a_miss_too(
    door: Any, shared: str, by: str, counted: Callable[[str], int]
) -> None:
    first = door.completion(**ASK, cache=CACHE)
    data = stored(shared, first.cache.key)
    recorder.recorder._start_afresh()  # the index never learns of it
    value = {"tag": "whales", "namespace": "sea", "scope": "ahab", "model": "m"}
    if by == "clear":
        maintenance.clear("default")
        put_back(shared, first.cache.key, data)
    else:
        llmcache.evict(**{by: value[by]})
    assert stored(shared, first.cache.key) == data
    second = ask(door)
    assert second.id != first.id
    assert counted("put_back") == 1
    as_in_a_new_process()
    assert ask(door).id == second.id


def test_an_eviction_from_layers_holds_for_each_of_them(
    door: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    stores = {
        "far": disk(request, tmp_path),
        "default": {
            "BACKEND": "llmcache.backends.layered.LayeredBackend",
            "OPTIONS": {"layers": ["far"]},
        },
    }
    with override_settings(LLMCACHE=stores):
        digest = ask(door).cache.key
        llmcache.evict(digest=digest, alias="default")
        as_in_a_new_process()
        assert tombstones.tombstones.cover({"far"}, digest, envelope(50.0))


def test_a_digest_of_one_store_says_nothing_of_another_store(
    door: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    stores = {"default": disk(request, tmp_path / "a"), "other": disk(request, tmp_path / "b")}
    with override_settings(LLMCACHE=stores):
        digest = ask(door).cache.key
        backends.stores["other"].set(digest, stored("default", digest), 60)
        llmcache.evict(digest=digest, alias="other")
        assert ask(door).cache.hit


def test_an_operation_that_was_taken_back_at_commit_counts_from_its_commit(
    door: Any, tmp_path: Path, request: pytest.FixtureRequest, transactional_db: None
) -> None:
    from django.db import transaction

    with override_settings(LLMCACHE={"default": disk(request, tmp_path)}):
        with transaction.atomic():
            llmcache.evict(model="m")
            digest = ask(door).cache.key  # before the others can know
            data = stored("default", digest)
        put_back("default", digest, data)
        as_in_a_new_process()
        assert ask(door).cache.outcome == "miss"


def envelope(created: float, **header: Any) -> Envelope:
    opened = Envelope(created, 1e12, 1e12, False, b"{}", b"")
    opened.note(header)
    return opened


def test_a_call_counts_from_its_beginning_or_from_when_staff_stored_it() -> None:
    known = Tombstones()
    known.bury(["a"], [EVERYWHERE], 100.0)
    known.bury_all(*ALL, ["default"], 200.0)
    for digest, alias, opened, covered in (
        ("a", "x", envelope(99.0), True),
        ("a", "x", envelope(101.0), False),
        ("a", "x", envelope(101.0, seconds=2.0), True),
        ("a", "x", envelope(50.0, **{RESEALED: 100.0}), False),
        ("b", "x", envelope(50.0), False),
        ("b", "default", envelope(199.0), True),
        ("b", "default", envelope(201.0, seconds=2.0), True),
        ("b", "default", envelope(201.0), False),
    ):
        assert known.cover([alias], digest, opened) is covered
        assert known.may_cover(digest, opened) or not covered


def test_a_process_remembers_what_was_evicted_last(
    monkeypatch: pytest.MonkeyPatch, counted: Callable[[str], int]
) -> None:
    monkeypatch.setattr(tombstones, "MOST", 3)
    known = Tombstones()
    known.bury(["a", "b", "c"], [EVERYWHERE], 100.0)
    known.bury(["a", "d"], ["default"], 200.0)
    covered = [name for name in "abcd" if known.cover(["default"], name, envelope(50.0))]
    assert covered == ["a", "c", "d"]
    assert known.cover(["other"], "a", envelope(99.0))  # of both evictions
    assert counted("evictions_forgotten") == 1


def test_a_new_process_reads_the_newest_of_a_long_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tombstones, "MOST", 3)
    monkeypatch.setattr(invalidation, "MOST", 3)
    operation = invalidation.publish(Eviction.What.TAG, value="t")
    for number in range(5):
        invalidation.publish_part(operation, "default", [f"{number}a", f"{number}b"])
    invalidation.publish(Eviction.What.ALIAS, alias="cleared")
    Eviction.objects.update(created=timezone.now() - timedelta(days=1))
    as_in_a_new_process()
    known = tombstones.tombstones
    assert known.cover(["cleared"], "z", envelope(50.0))
    assert not known.cover(["cleared"], "z", envelope(time.time() - 60))
    names = [f"{number}{letter}" for number in range(5) for letter in "ab"]
    covered = [name for name in names if known.cover(["default"], name, envelope(50.0))]
    assert covered == ["3b", "4a", "4b"]


def test_a_long_log_is_not_held_in_memory_while_it_is_read() -> None:
    kinds = {"what": Eviction.What.TAG, "digests": ""}, {"what": Eviction.What.ENTRIES}
    Eviction.objects.bulk_create(
        Eviction(value=f"t{n}", **{"digests": f"{n:064x}", **kinds[n % 2]}) for n in range(4000)
    )
    tracemalloc.start()
    try:
        as_in_a_new_process()
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    known = tombstones.tombstones
    assert known.cover(["default"], f"{3999:064x}", envelope(50.0))
    assert known.cover(["default"], "z", envelope(50.0, tags=["t3998"]))
    assert peak - kept < 4000 * 400  # bytes; a row as an object takes some 1,500
