"""A system that starts no more threads: no call fails for that, nothing is lost, and what a thread
was for goes on once the system starts them again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches

from llmcache import caching, claims, fetching, recorder, relays, writer
from llmcache.backends.batched import BatchedBackend
from llmcache.backends.memory import MemoryBackend
from llmcache.backends.semantic import local_graphs
from llmcache.conf import BackendSettings
from llmcache.models import Call
from llmcache.testing.store_contract import digest
from tests.backends.semantic.conftest import cloud, fill, prompts
from tests.backends.semantic.local_stores import semantic
from tests.faults.parts import no_threads
from tests.flights.sides import until

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Count on and on"}]}


@pytest.fixture
def on_disk(tmp_path: Path, settings: Any) -> Any:
    """A store with claims."""
    place = str(tmp_path / "entries")
    settings.LLMCACHE = {
        "default": {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": place}
    }
    settings.LLMCACHE_CONFIG = {"BACKEND_TIMEOUT": 20.0}
    return settings


def prime(door: Any) -> None:
    """Have the threads in which a loop reaches a store, and none that was started for a call."""
    door.completion(model="m", messages=[{"role": "user", "content": "another question"}])
    until(lambda: not claims._keeper._claims)
    for keeper in (claims._keeper, relays.watch):
        keeper._start_afresh()


def test_an_answer_whose_writer_cannot_be_started_is_stored_and_served_by_the_rules(
    door: Any, settings: Any, counted: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    settings.LLMCACHE_CONFIG = {"WRITER": "thread"}
    writer._worker._start_afresh()
    with no_threads():
        assert door.completion(**ASK).cache.outcome == "miss"
        assert door.completion(**ASK).cache.outcome == "hit"
        door.completion(model="m", messages=[{"role": "user", "content": "another question"}])
    assert counted("thread_error") == 2
    assert caplog.text.count("llmcache-writer could not be started") == 1  # not at each call
    caches["default"].clear()
    assert door.completion(**ASK).cache.outcome == "miss"
    writer.flush()
    assert writer._worker._thread is not None


def test_an_answer_that_could_not_even_be_written_holds_up_nobody(
    door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> Any:
        raise KeyboardInterrupt

    async def ainterrupted(*args: Any) -> Any:
        raise SystemError("an event loop would end with the other")

    monkeypatch.setattr(fetching.similar, "vectors", interrupted)
    monkeypatch.setattr(fetching.similar, "avectors", ainterrupted)
    for stream in (False, True):
        with pytest.raises((KeyboardInterrupt, SystemError)):
            found = door.completion(**ASK, stream=stream)
            door.chunks(found)
    monkeypatch.undo()
    assert door.completion(**ASK).cache.outcome == "miss"
    assert door.completion(**ASK).cache.outcome == "hit"


@pytest.mark.usefixtures("on_disk")
def test_a_claim_that_cannot_be_renewed_is_made_and_ended_all_the_same(door: Any) -> None:
    prime(door)
    with no_threads():
        assert door.completion(**ASK).cache.outcome == "miss"
        assert claims._keeper._thread is None
    store = caching.for_alias("default")
    assert store is not None
    assert store.backend.claimed(str(door.completion(**ASK).cache.key)) is None
    later = door.completion(model="m", messages=[{"role": "user", "content": "one more"}])
    assert later.cache.outcome == "miss"
    assert claims._keeper._thread is not None


@pytest.mark.usefixtures("on_disk")
def test_a_stream_that_cannot_be_offered_to_other_processes_is_read_and_stored(door: Any) -> None:
    prime(door)
    with no_threads():
        stream = door.completion(**ASK, stream=True)
        assert relays.watch._thread is None
        assert stream.cache.outcome == "miss"
        assert len(door.chunks(stream)) > 2
    assert door.completion(**ASK).cache.outcome == "hit"


@pytest.mark.django_db(transaction=True)
def test_what_is_recorded_meanwhile_is_written_later(
    door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = recorder.recorder
    monkeypatch.setattr(recorder, "in_test_run", lambda: False)
    kept.flush()
    with no_threads():
        door.chunks(door.completion(**ASK, stream=True))
        assert kept._thread is None
        assert kept.waiting
    try:
        door.completion(**ASK)
        assert kept._thread is not None
    finally:
        kept.stop()
        kept._start_afresh()
    assert sorted(Call.objects.values_list("outcome", flat=True)) == ["hit", "miss"]


def test_writes_that_no_timer_would_send_are_sent_at_once() -> None:
    inner = MemoryBackend(BackendSettings(alias="inner"))
    store = BatchedBackend(inner, 100, 60.0)
    one, other = digest("one"), digest("other")
    with no_threads():
        store.set(one, b"1", 60)
        assert inner.get(one) == b"1"
    store.set(other, b"2", 60)
    assert inner.get(other) is None
    store.close()
    assert inner.get(other) == b"2"


def test_a_graph_that_cannot_be_built_now_is_built_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_graphs, "EXACT", 50)
    store: Any = semantic(tmp_path)
    vectors = cloud(60)
    fill(store, range(60), vectors)
    with no_threads():
        assert prompts(store, vectors[7], 1) == ["7"]
        assert store._graphs.wait(0)
    assert prompts(store, vectors[7], 1) == ["7"]
    assert store._graphs.wait(60)
    [copy] = store._copies._copies.values()
    assert len(copy.graph) == 60
    store.close()
