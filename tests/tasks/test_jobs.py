"""What a worker does: each job once and, as queues deliver some tasks twice, again."""

from __future__ import annotations

import threading
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from time import time
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

import llmcache
from llmcache import backends, jobs, recorder
from llmcache.envelope import EnvelopeError, seal, unseal
from llmcache.exceptions import InvalidRequest
from llmcache.models import Call, Entry, Eviction, HourlyStat, RecordBatch
from llmcache.records import CallRecord, EntryRecord
from llmcache.upstreams.fake import FakeUpstream

pytestmark = pytest.mark.django_db

DIGEST = "ab" * 32


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[backends.BaseBackend]:
    """A store that other processes would see too."""
    described = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(tmp_path)}
    with override_settings(LLMCACHE={"default": {}, "disk": described}):
        yield backends.stores["disk"]


def sealed(created: float, ttl: float = 60, answer: bytes = b"{}", **header: Any) -> bytes:
    return seal(DIGEST, answer, created=created, expires=created + ttl, header=header)


def item(data: bytes, ttl: float | None = 60) -> list[Any]:
    return [DIGEST, b64encode(data).decode(), ttl]


def record(data: bytes, created: float, **header: Any) -> dict[str, Any]:
    return EntryRecord(
        alias="disk",
        digest=DIGEST,
        created=created,
        expires=created + 60,
        kept_until=created + 60,
        size=len(data),
        header={"kind": "completion", "model": "m", **header},
    ).as_json()


def called(**changes: Any) -> list[Any]:
    base = CallRecord(
        *(time(), "miss", "", "disk", DIGEST, "completion", "m", None, None, None, "", False),
        *(0.1, 0.0, None, 0.0, False, {"usage": {"input": 1, "output": 2}}),
    )
    return base._replace(**changes).as_json()


def ask(text: str, **cache: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    return llmcache.completion("m", messages=messages, cache=cache)


# --- writing ---


def test_entries_sealed_elsewhere_are_stored_and_indexed(disk: Any) -> None:
    data = sealed(time())
    assert jobs.write_items("disk", [item(data)], [record(data, time())]) == 1
    assert disk.get(DIGEST) == data
    assert Entry.objects.get().digest == DIGEST


def test_a_write_delivered_twice_leaves_what_staff_did_to_the_entry_in_between(disk: Any) -> None:
    now = time()
    data = sealed(now)
    jobs.write_items("disk", [item(data)])
    pinned = sealed(now, ttl=1e6, pinned=True)
    disk.set(DIGEST, pinned, None)
    assert jobs.write_items("disk", [item(data)]) == 0
    assert disk.get(DIGEST) == pinned


def test_a_write_that_comes_late_does_not_replace_a_newer_entry(disk: Any) -> None:
    now = time()
    newer, older = sealed(now), sealed(now - 10)
    jobs.write_items("disk", [item(newer)], [record(newer, now)])
    jobs.write_items("disk", [item(older)], [record(older, now - 10)])
    assert disk.get(DIGEST) == newer
    assert Entry.objects.get().created.timestamp() == pytest.approx(now)


def test_a_write_replaces_a_damaged_or_forged_entry(disk: Any) -> None:
    disk.set(DIGEST, b"LLC\x01 anything", None)
    data = sealed(time())
    assert jobs.write_items("disk", [item(data)]) == 1
    assert disk.get(DIGEST) == data


def test_an_entry_whose_ttl_ended_in_the_queue_is_not_stored(disk: Any) -> None:
    data = sealed(time() - 100)
    assert jobs.write_items("disk", [item(data)], [record(data, time() - 100)]) == 0
    assert disk.get(DIGEST) is None
    assert not Entry.objects.exists()


def test_an_entry_that_waited_in_the_queue_lives_only_for_what_is_left(disk: Any) -> None:
    kept: list[float] = []
    disk.set_many = lambda items: kept.extend(item.ttl for item in items)
    jobs.write_items("disk", [item(sealed(time() - 50))])
    assert 9 < kept[0] <= 10


def test_an_entry_evicted_while_it_waited_in_the_queue_is_gone(disk: Any) -> None:
    begun = time() - 5
    data = sealed(begun, model="m", kind="completion")
    llmcache.evict(model="m")
    jobs.write_items("disk", [item(data)], [record(data, begun)])
    assert disk.get(DIGEST) is None
    assert not Entry.objects.exists()


def test_a_store_that_fails_is_an_error_that_the_queue_may_try_again(disk: Any) -> None:
    def fail(*args: object) -> None:
        raise OSError("no space left")

    disk.set_many = fail
    with pytest.raises(jobs.StoreFailed, match="'disk': OSError: no space left"):
        jobs.write_items("disk", [item(sealed(time()))])


def test_bytes_that_this_site_has_not_sealed_are_refused(disk: Any) -> None:
    data = sealed(time())
    with override_settings(SECRET_KEY="another site's"), pytest.raises(EnvelopeError):
        jobs.write_items("disk", [item(data)])
    assert disk.get(DIGEST) is None


def test_records_delivered_twice_count_once() -> None:
    arguments: dict[str, Any] = {"calls": [called()], "entries": [], "lost": 3}
    batch = str(uuid.uuid4())
    for _ in range(2):
        jobs.flush_records(**arguments, batch_id=batch)
    assert Call.objects.count() == 1
    assert sorted(HourlyStat.objects.values_list("outcome", "calls")) == [("lost", 3), ("miss", 1)]
    assert RecordBatch.objects.count() == 1


def test_a_record_that_cannot_be_written_costs_none_of_the_others() -> None:
    broken = called(latency=None)
    jobs.flush_records([called(), broken, called()], [], 0, str(uuid.uuid4()))
    assert Call.objects.count() == 2
    assert HourlyStat.objects.get(outcome="lost").calls == 1


# --- keeping house ---


def test_a_sweep_deletes_all_that_has_expired_batch_by_batch() -> None:
    old = timezone.now() - timedelta(days=40)
    for number in range(5):
        Call.objects.create(created=old, outcome="miss", kind="completion", model="m", latency=1)
        Entry.objects.create(
            alias="default", digest=f"{number:064x}", size=1, created=old, kept_until=old
        )
    done = jobs.sweep_expired(limit=2)
    assert (done["index"], done["log"], done["problems"]) == (5, 5, {})
    assert not Call.objects.exists() and not Entry.objects.exists()


def test_a_sweep_ends_after_the_batches_that_it_was_given() -> None:
    old = timezone.now() - timedelta(days=40)
    for number in range(5):
        Entry.objects.create(
            alias="default", digest=f"{number:064x}", size=1, created=old, kept_until=old
        )
    jobs.sweep_expired(limit=2, batches=2)
    assert Entry.objects.count() == 1


def test_a_store_that_fails_does_not_keep_a_sweep_from_the_rest(disk: Any) -> None:
    def fail(limit: int) -> int:
        raise OSError("disk on fire")

    disk.sweep = fail
    old = timezone.now() - timedelta(days=40)
    Entry.objects.create(alias="disk", digest=DIGEST, size=1, created=old, kept_until=old)
    done = jobs.sweep_expired()
    assert done["problems"] == {"disk": "OSError: disk on fire"}
    assert done["index"] == 1


def test_hours_are_rolled_up() -> None:
    old = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(days=60)
    for hour in (old.replace(hour=3), old.replace(hour=4)):
        HourlyStat.objects.create(hour=hour, outcome="miss", calls=1)
    assert jobs.rollup_hours() == 1
    assert HourlyStat.objects.get().calls == 2


# --- evicting by filters ---


def test_all_that_match_are_evicted_but_for_pinned_ones(upstream: FakeUpstream) -> None:
    for text in ("one", "two", "three"):
        ask(text, namespace="shop")
    ask("elsewhere")
    recorder.flush()
    Entry.objects.filter(preview="two").update(pinned=True)
    done = jobs.evict_matching({"namespace": "shop"}, by="ann")
    assert done == {"removed": 2, "skipped": 1}
    assert sorted(Entry.objects.values_list("preview", flat=True)) == ["elsewhere", "two"]
    assert Eviction.objects.operations().get().by == "ann"
    assert ask("one", namespace="shop").cache.outcome == "miss"
    assert ask("two", namespace="shop").cache.outcome == "hit"


def test_filters_ask_the_questions_of_the_queryset_too(upstream: FakeUpstream) -> None:
    ask("tagged", tags=["a"])
    ask("plain")
    recorder.flush()
    found = Entry.objects.get(preview="plain")
    names = lambda filters: [e.preview for e in jobs.entries_matching(filters)]  # noqa: E731
    assert names({"tagged": ["a", "b"]}) == ["tagged"]
    assert names({"with_digest_prefix": found.digest[:9]}) == ["plain"]
    assert names({"expired": True}) == []
    assert len(names({"live": True, "model": "m"})) == 2
    assert names({"cold": 3600}) == []
    assert names({"created__lte": "2001-01-01T00:00Z"}) == []


@pytest.mark.parametrize(
    "filters", [{"colour": "red"}, {"expires__lte": "soon"}, {"cold": "old"}, {"tagged": 7}]
)
def test_a_filter_that_entries_do_not_have_is_an_error_that_names_it(
    filters: dict[str, Any],
) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(filters))):
        jobs.evict_matching(filters)


# --- warming ---


def test_warming_makes_the_calls_and_names_those_that_fail(upstream: FakeUpstream) -> None:
    def hello(text: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": text}]

    requests: list[dict[str, Any]] = [
        {"model": "m", "messages": hello("one")},
        {"model": "m"},
        {"kind": "embedding", "model": "m", "input": "text"},
        {"model": "m", "messages": hello("two"), "stream": True},
        {"kind": "poem", "model": "m"},
    ]
    done = jobs.warm(requests, concurrency=2)
    assert done["miss"] == 3
    assert "needs the argument 'messages'" in done["errors"]["1"]
    assert "'poem'" in done["errors"]["4"]
    assert ask("one").cache.outcome == ask("two").cache.outcome == "hit"
    assert upstream.call_count == 3
    assert jobs.warm(requests[:1]) == {"hit": 1, "errors": {}}


# --- starting ---


def finish(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == f"llmcache-{name}":
            assert thread.daemon
            thread.join()


@pytest.mark.django_db(transaction=True)
def test_without_a_queue_a_thread_does_the_job(upstream: FakeUpstream) -> None:
    ask("one")
    recorder.flush()
    assert jobs.start("evict_matching", filters={"model": "m"}, by="ann") is False
    finish("evict_matching")
    assert not Entry.objects.exists()
    assert ask("one").cache.outcome == "miss"


@pytest.mark.django_db(transaction=True)
def test_a_job_that_fails_in_a_thread_is_counted_and_logged(
    counted: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    jobs.start("evict_matching", filters={"colour": "red"})
    finish("evict_matching")
    assert counted("job_error") == 1
    assert "The job evict_matching failed" in caplog.text


def test_an_unknown_job_and_an_argument_that_is_not_json_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="Did you mean 'sweep_expired'"):
        jobs.start("sweep_expird")
    with pytest.raises(InvalidRequest, match="must be JSON values"):
        jobs.start("evict_matching", filters={"pk__in": {1, 2}})


def test_an_opened_entry_is_the_one_that_was_sealed(disk: Any) -> None:
    data = sealed(time(), answer=b'{"a": 1}')
    jobs.write_items("disk", [item(data)])
    assert unseal(DIGEST, disk.get(DIGEST)).payload == b'{"a": 1}'
