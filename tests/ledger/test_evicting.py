"""Evicting, sweeping and thinning out, on every database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from time import time
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

import llmcache
from llmcache import backends, invalidation, ledger, maintenance, sweeping
from llmcache.models import Call, Entry, EntryTag, Eviction, HourlyStat, MatchedPair, RecordBatch
from llmcache.recorder import recorder
from llmcache.rollup import roll_up
from llmcache.store import Store
from tests.ledger.records import called, digest, stored
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[None]:
    """A store on disk, and one over it that has a memory of its own."""
    disk = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(tmp_path)}
    memory = {"BACKEND": "llmcache.backends.memory.MemoryBackend"}
    layered = {
        "BACKEND": "llmcache.backends.layered.LayeredBackend",
        "OPTIONS": {"layers": ["memory", "default"]},
    }
    with override_settings(LLMCACHE={"default": disk, "memory": memory, "layered": layered}):
        yield


def ask(text: str, model: str = "m", **cache: Any) -> str:
    """The outcome of a question; what it brings is in the index afterwards."""
    messages = [{"role": "user", "content": text}]
    outcome: str = llmcache.completion(model, messages=messages, cache=cache).cache.outcome
    recorder.flush()
    return outcome


LOOKS = ("get", "mget", "scan", "keys")
LONG = "n" * 300
CRITERIA = [
    {"tag": "t"},
    {"tag": LONG},
    {"namespace": "shop"},
    {"namespace": LONG},
    {"scope": "ann"},
    {"model": "other"},
]


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda given: repr(given)[:24])
def test_each_criterion_evicts_what_has_it_and_nothing_else(criterion: dict[str, str]) -> None:
    ((name, value),) = criterion.items()
    given: dict[str, Any] = {"tags": [value]} if name == "tag" else {name: value}
    assert ask("one", **given) == ask("two", **given) == ask("bystander", tags=["u"]) == "miss"
    done = maintenance.evict(**criterion, reason="why", by="ann")
    assert (done.removed, done.failed) == (2, 0)
    operation = Eviction.objects.operations().get()
    assert (operation.what, operation.number, operation.by) == (name, 2, "ann")
    assert ask("one", **given) == ask("two", **given) == "miss"
    assert ask("bystander", tags=["u"]) == "hit"


def test_one_entry_is_evicted_by_its_digest_from_every_store() -> None:
    ask("one")
    ask("two")
    found = Entry.objects.get(preview="one").digest
    assert maintenance.evict(digest=found).removed == 1
    assert (ask("one"), ask("two")) == ("miss", "hit")


def test_an_entry_that_the_index_does_not_know_is_evicted_by_its_digest() -> None:
    ask("one")
    found = Entry.objects.get().digest
    Entry.objects.all().delete()
    assert maintenance.evict(digest=found).removed == 1
    assert ask("one") == "miss"


def test_entries_of_one_alias_are_evicted_and_others_stay() -> None:
    ledger.write([], [stored(1, alias="default", tags=["t"]), stored(1, alias="other", tags=["t"])])
    assert maintenance.evict(tag="t", alias="default").removed == 1
    assert Entry.objects.get().alias == "other"


def test_a_whole_store_is_cleared() -> None:
    ask("one")
    ask("two")
    assert maintenance.clear("default", by="ann").removed == 2
    assert not Entry.objects.exists()
    assert ask("one") == "miss"


def test_more_entries_than_a_batch_are_evicted_with_their_tags() -> None:
    ledger.write([], [stored(n, tags=["t", "u"]) for n in range(2100)])
    told: list[int] = []
    done = maintenance.evict_entries(Entry.objects.tagged("t"), progress=told.append)
    assert (done.removed, told) == (2100, [1000, 1000, 100])
    assert not EntryTag.objects.exists()
    assert sum(Eviction.objects.exclude(part_of=None).values_list("number", flat=True)) == 2100


def test_copies_in_this_process_own_memory_go_too() -> None:
    ask("one", tags=["t"])
    found = Entry.objects.get().digest
    layered = backends.stores["layered"]
    kept = Store(layered)
    assert layered.get(found) is not None
    with llmcache.enable_cache(type="local"):
        ask("one", tags=["t"])
        maintenance.evict(digest=found)
        assert ask("one", tags=["t"]) == "miss"
    assert kept.backend.get(found) is None


def test_a_store_of_the_programs_own_is_not_looked_through(own_redis: RedisServer) -> None:
    redis = pytest.importorskip("redis").Redis.from_url(own_redis.url)

    def read() -> int:
        commands = redis.info("commandstats")
        return sum(commands.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in LOOKS)

    with llmcache.enable_cache(type="redis", host="127.0.0.1", port=own_redis.port):
        for number in range(20):
            ask(str(number), tags=["t" if number < 2 else "u"])
        before = read()
        assert maintenance.evict(tag="t").removed == 2
        assert read() == before
        assert (ask("1", tags=["t"]), ask("2", tags=["u"])) == ("miss", "hit")


def test_an_entry_that_neither_index_nor_memory_has_is_refused_all_the_same(tmp_path: Path) -> None:
    with llmcache.enable_cache(type="disk", disk_cache_dir=tmp_path / "own"):
        ask("one", tags=["t"])
        Entry.objects.all().delete()
        maintenance.evict(tag="t")
        assert ask("one", tags=["t"]) == "miss"


def test_an_answer_stored_anew_while_its_entry_is_evicted_stays_in_the_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger.write([], [stored(1, tags=["t"], created=time() - 50)])
    backend = backends.stores["default"]

    def delete_and_store_anew(digests: Sequence[str]) -> None:
        assert list(digests) == [digest(1)]
        ledger.write([], [stored(1, tags=["t"], created=time() + 1, seconds=0.0)])

    monkeypatch.setattr(backend, "delete_many", delete_and_store_anew)
    maintenance.evict(tag="t")
    assert Entry.objects.get().tags.get().name == "t"


# --- evictions and transactions ---


def test_an_eviction_that_is_taken_back_hides_none_of_another_process(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invalidation, "poller", invalidation.Poller())
    with pytest.raises(RuntimeError), transaction.atomic(using=database):
        taken_back = invalidation.publish("tag", value="t")
        raise RuntimeError("taken back")
    another = Eviction.objects.create(pk=taken_back.pk, what="tag", value="t")
    assert invalidation.poller.poll() == 1
    assert another.pk == taken_back.pk


def test_what_others_stored_within_the_transaction_goes_at_its_commit(database: str) -> None:
    ask("one", tags=["t"])
    with transaction.atomic(using=database):
        assert maintenance.evict(tag="t").removed == 1
        assert ask("one", tags=["t"]) == "miss"
        assert ask("one", tags=["t"]) == "hit"
    assert ask("one", tags=["t"]) == "miss"
    assert Eviction.objects.operations().get().number == 2


def test_what_was_stored_under_a_digest_within_the_transaction_goes_at_its_commit(
    database: str,
) -> None:
    ask("one")
    with transaction.atomic(using=database):
        maintenance.evict(digest=Entry.objects.get().digest)
        assert ask("one") == "miss"
    assert ask("one") == "miss"


def test_an_answer_on_its_way_at_the_commit_is_evicted_when_it_arrives(database: str) -> None:
    with transaction.atomic(using=database):
        maintenance.evict(tag="t")
        begun_before_the_commit = stored(1, tags=["t"], seconds=0.0)
    ledger.write([], [begun_before_the_commit])
    assert not Entry.objects.exists()
    ledger.write([], [stored(1, tags=["t"], seconds=0.0)])
    assert Entry.objects.exists()


def test_an_eviction_that_is_taken_back_leaves_the_index_as_it_was(database: str) -> None:
    ask("one", tags=["t"])
    with pytest.raises(RuntimeError), transaction.atomic(using=database):
        maintenance.evict(tag="t")
        raise RuntimeError("taken back")
    assert Entry.objects.count() == 1
    assert not Eviction.objects.exists()


# --- keeping house ---


def test_a_sweep_removes_expired_rows_and_old_ones_of_the_logs() -> None:
    ledger.write([], [stored(n, ttl=-1) for n in range(5)] + [stored(9), stored(10, expires=None)])
    old = timezone.now() - timedelta(days=31)
    ledger.write([called(at=old.timestamp()) for _ in range(4)] + [called()], [])
    operation = Eviction.objects.create(what="tag", created=old)
    Eviction.objects.create(what="entries", created=old, part_of=operation)
    RecordBatch.objects.create(created=old)
    for number, (seen, same) in enumerate([(old, None), (old, False), (timezone.now(), None)]):
        MatchedPair.objects.create(
            alias="default", pair=str(number), similarity=0.9, how="served", seen=seen, same=same
        )
    assert sweeping.expired_rows() == (5, 4 + 1 + 1 + 1)
    done = sweeping.total(sweeping.sweep_all(2))
    assert (done.index, done.log) == (5, 7)
    assert set(MatchedPair.objects.values_list("pair", flat=True)) == {"1", "2"}
    assert (Entry.objects.count(), Call.objects.count()) == (2, 1)
    assert not Eviction.objects.exists() and not RecordBatch.objects.exists()


def test_old_hours_become_days_with_the_same_sums() -> None:
    day = (timezone.now() - timedelta(days=40)).replace(hour=0, minute=0, second=0, microsecond=0)
    calls = [
        called("hit", at=(day + timedelta(hours=h)).timestamp(), model=model)
        for h in range(24)
        for model in ("Model", "model")
    ]
    ledger.write(calls, [])
    before = HourlyStat.objects.count()
    assert roll_up() == before - HourlyStat.objects.count() > 0
    assert set(HourlyStat.objects.values_list("hour", flat=True)) == {day}
    assert sum(HourlyStat.objects.values_list("calls", flat=True)) == 48
    assert roll_up() == 0
