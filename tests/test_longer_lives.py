"""With REFRESH_TTL_ON_HIT an entry that is asked for lives on: not for ever, and at no caller's
cost."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

import llmcache
from llmcache import caching, maintenance, prolonging, recorder, writer
from llmcache.backends.base import BaseBackend
from llmcache.decorators import cached, cached_completion
from llmcache.envelope import Envelope, unseal
from llmcache.exceptions import Resting
from llmcache.models import Entry
from llmcache.records import EntryRecord
from llmcache.store import Store
from llmcache.upstreams.fake import FakeUpstream

pytestmark = pytest.mark.django_db
ON = {"REFRESH_TTL_ON_HIT": True}
SHORT, LONG = {"ttl": 100.0}, {"ttl": 1000.0}
"""A hit of a call that wants a longer life than the entry has: the entry need not grow old."""


@pytest.fixture(autouse=True)
def switched_on() -> Any:
    with override_settings(LLMCACHE_CONFIG=ON):
        yield


@pytest.fixture(params=["locmem", "disk", "redis", "layered"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The settings' store, of several kinds."""
    disk = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(tmp_path)}
    stores: dict[str, Any] = {"default": disk}
    if request.param == "locmem":
        stores = {}
    elif request.param == "redis":
        stores["default"] = {
            "BACKEND": "llmcache.backends.redis.RedisBackend",
            "LOCATION": request.getfixturevalue("redis_server").url,
            "KEY_PREFIX": str(tmp_path),
        }
    elif request.param == "layered":
        stores = {
            "near": {"BACKEND": "llmcache.backends.memory.MemoryBackend"},
            "far": disk,
            "default": {
                "BACKEND": "llmcache.backends.layered.LayeredBackend",
                "OPTIONS": {"layers": ["near", "far"], "local_ttl": 600},
            },
        }
    with override_settings(LLMCACHE=stores):
        yield


def ask(door: Any, text: str = "hello", *, stream: bool = False, **cache: Any) -> Any:
    """An answer, once all that it has caused is done."""
    messages = [{"role": "user", "content": text}]
    response = door.completion("m", messages=messages, stream=stream, cache=cache)
    if stream:
        door.chunks(response)
    writer.flush()
    recorder.flush()
    return response.cache


def backend() -> BaseBackend:
    store = caching.for_alias("default")
    assert store is not None
    return store.backend


def opened(digest: str) -> Envelope:
    data = backend().get(digest)
    assert data is not None
    return unseal(digest, data, signed=not backend().process_local)


def left(digest: str) -> float:
    """Seconds that an entry has from now, as its store says."""
    return opened(digest).expires - time.time()


def test_a_hit_lets_its_entry_live_as_long_as_a_new_one_would(
    door: Any, any_store: None, counted: Callable[[str], int]
) -> None:
    window = {"stale-if-error": 50}
    before = opened(ask(door, **SHORT, **window).key)
    info = ask(door, **LONG, **window)
    assert (info.outcome, counted("lengthened")) == ("hit", 1)
    after = opened(info.key)
    assert 900 < left(info.key) <= 1000
    assert after.stale_until - after.expires == pytest.approx(50)
    assert (after.created, after.payload) == (before.created, before.payload)
    entry = Entry.objects.get()
    assert entry.expires is not None and entry.kept_until is not None
    assert entry.expires.timestamp() == pytest.approx(after.expires, abs=0.001)
    assert entry.kept_until.timestamp() == pytest.approx(after.stale_until, abs=0.001)
    assert entry.hits == 1 and entry.preview == "hello"
    assert ask(door, **LONG).outcome == "hit" and counted("lengthened") == 1


def test_the_store_keeps_it_for_so_long(door: Any) -> None:
    digest = ask(door, ttl=0.2).key
    ask(door, **LONG)
    time.sleep(0.25)
    assert ask(door).key == digest and left(digest) > 900


def test_a_hit_never_shortens_a_life(door: Any, counted: Callable[[str], int]) -> None:
    digest = ask(door, **LONG).key
    ask(door, **SHORT)
    assert counted("lengthened") == 0 and left(digest) > 900


@pytest.mark.parametrize(("gain", "times"), [(1.2, 0), (1.4, 1)])
def test_little_gain_is_worth_no_write(
    door: Any, counted: Callable[[str], int], gain: float, times: int
) -> None:
    ask(door, ttl=1000)
    ask(door, ttl=1000 * gain)
    assert counted("lengthened") == times


@override_settings(LLMCACHE_CONFIG={**ON, "TTL_JITTER": 0.5})
def test_jitter_is_kept_apart_from_gain(door: Any, counted: Callable[[str], int]) -> None:
    texts = [str(number) for number in range(10)]
    for text in texts:
        ask(door, text, ttl=1000)
        ask(door, text, ttl=1000)
    assert counted("lengthened") == 0
    lives = {round(left(ask(door, text, ttl=5000).key)) for text in texts}
    assert counted("lengthened") == 10 and len(lives) > 5 and min(lives) > 2000


@pytest.mark.parametrize("ttl", [1000.0, math.inf])
def test_no_hit_lets_an_entry_live_past_the_greatest_age(door: Any, ttl: float) -> None:
    with override_settings(LLMCACHE_CONFIG={**ON, "REFRESH_TTL_MAX_AGE": 300}):
        digest = ask(door, **SHORT).key
        created = opened(digest).created
        ask(door, ttl=ttl)
        assert opened(digest).expires == pytest.approx(created + 300, abs=0.001)


def test_what_is_stale_gets_no_new_life(
    door: Any, upstream: FakeUpstream, counted: Callable[[str], int]
) -> None:
    ask(door, ttl=0.05, **{"stale-while-revalidate": 600})
    door.embedding("m", ["a"], cache={"ttl": 0.05, "stale-if-error": 600})
    time.sleep(0.06)
    stale = {**LONG, "stale-while-revalidate": 600, "only-if-cached": True, "no-store": False}
    assert ask(door, **stale).outcome == "stale"
    llmcache.upstreams.upstreams["default"].fail = 500  # type: ignore[attr-defined]
    rescued = door.embedding("m", ["a"], cache={**LONG, "stale-if-error": 600})
    writer.flush()
    assert (rescued.cache.outcome, counted("lengthened")) == ("stale", 0)


@pytest.mark.parametrize(
    ("config", "control", "times"),
    [({}, {}, 0), ({}, True, 1), (ON, {}, 1), (ON, False, 0)],
)
def test_a_calls_own_word_comes_before_the_settings(
    door: Any, counted: Callable[[str], int], config: Any, control: Any, times: int
) -> None:
    own = {"refresh-ttl-on-hit": control} if isinstance(control, bool) else {}
    with override_settings(LLMCACHE_CONFIG=config):
        ask(door, **SHORT)
        ask(door, **LONG, **own)
    assert counted("lengthened") == times


def test_a_call_that_stores_nothing_changes_no_entry(
    door: Any, counted: Callable[[str], int]
) -> None:
    ask(door, **SHORT)
    assert ask(door, **LONG, **{"no-store": True}).outcome == "hit"
    assert counted("lengthened") == 0


def test_streams_and_items_of_embeddings_live_longer_too(
    door: Any, counted: Callable[[str], int]
) -> None:
    digest = ask(door, stream=True, **SHORT).key
    ask(door, stream=True, **LONG)
    assert left(digest) > 900 and opened(digest).is_stream
    door.embedding("m", ["a", "b"], cache=SHORT)
    door.embedding("m", ["b", "a", "c", "b"], cache=LONG)
    writer.flush()
    recorder.flush()
    assert counted("lengthened") == 3
    ends = [entry.expires for entry in Entry.objects.filter(kind="embedding")]
    assert len(ends) == 3 and all(end.timestamp() > time.time() + 900 for end in ends if end)


def test_functions_and_views_live_longer_too(counted: Callable[[str], int]) -> None:
    def function() -> int:
        return 1

    def view(request: Any) -> HttpResponse:
        return HttpResponse("x")

    request = RequestFactory().get("/")
    for ttl in (100, 1000):
        cached(ttl=ttl)(function)()
        response = cached_completion(ttl=ttl, scope=None)(view)(request)
    writer.flush()
    assert response["X-LLMCache-Outcome"] == "hit" and counted("lengthened") == 2


def test_a_hit_waits_for_no_write(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(door, **SHORT)
    go_on, replace = threading.Event(), BaseBackend.replace

    def slow(self: BaseBackend, *args: Any) -> bool:
        return go_on.wait(60) and replace(self, *args)

    monkeypatch.setattr(BaseBackend, "replace", slow)
    messages = [{"role": "user", "content": "hello"}]
    try:
        for _ in range(20):
            assert door.completion("m", messages=messages, cache=LONG).cache.outcome == "hit"
        assert left(llmcache.explain_key("m", messages=messages)["digest"]) < 100
        assert writer._worker._queue.unfinished_tasks == 1  # nineteen of them found it under way
    finally:
        go_on.set()
    assert left(ask(door).key) > 900


@pytest.mark.parametrize("change", ["removed", "renewed"])
def test_what_is_removed_or_renewed_meanwhile_stays_so(
    door: Any, any_store: None, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    digest, seal = ask(door, **SHORT).key, prolonging.seal
    newer = seal(digest, b"newer", created=time.time(), expires=time.time() + 60)

    def meanwhile(*args: Any, **kwargs: Any) -> bytes:
        if change == "removed":
            backend().delete(digest)
        else:
            backend().set(digest, newer, 60)
        return seal(*args, **kwargs)

    monkeypatch.setattr(prolonging, "seal", meanwhile)
    ask(door, **LONG)
    assert backend().get(digest) == (None if change == "removed" else newer)


def test_an_entry_that_came_back_by_a_race_with_its_eviction_goes_again(door: Any) -> None:
    info = ask(door, tags=["daily"], **SHORT)
    data, header = backend().get(info.key), opened(info.key).header
    assert data is not None
    maintenance.evict(tag="daily")
    backend().set(info.key, data, 100)  # what a store without a step for both can come to
    end, created = time.time() + 1000, unseal(info.key, data, signed=False).created
    record = EntryRecord(
        alias="default",
        digest=info.key,
        created=created,
        expires=end,
        kept_until=end,
        size=1,
        header=header,
        lengthened=time.time(),
    )
    recorder.recorder.entries([record])
    recorder.flush()
    assert backend().get(info.key) is None
    assert not Entry.objects.exists()


def test_an_end_that_staff_have_set_holds(door: Any, counted: Callable[[str], int]) -> None:
    digest = ask(door, **LONG).key
    maintenance.set_ttl(Entry.objects.get(), 100)
    ask(door, **LONG)
    assert left(digest) < 101
    maintenance.pin(Entry.objects.get())
    ask(door, **LONG)
    entry = Entry.objects.get()
    assert (entry.pinned, entry.expires, opened(digest).expires) == (True, None, math.inf)
    assert counted("lengthened") == 0


@pytest.mark.parametrize("error", [OSError("down"), Resting("down")])
def test_a_store_that_fails_costs_the_caller_nothing(
    door: Any,
    monkeypatch: pytest.MonkeyPatch,
    counted: Callable[[str], int],
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    def fail(*args: Any) -> bool:
        raise error

    digest = ask(door, **SHORT).key
    monkeypatch.setattr(BaseBackend, "replace", fail)
    assert ask(door, **LONG).outcome == "hit"
    assert counted("lengthen_error") == 1 and left(digest) < 100
    assert ("live longer" in caplog.text) is not isinstance(error, Resting)


def test_another_processs_longer_life_is_not_given_again(
    door: Any, tmp_path: Path, counted: Callable[[str], int]
) -> None:
    disk = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(tmp_path)}
    near = {"BACKEND": "llmcache.backends.memory.MemoryBackend"}
    options = {"layers": ["near", "far"], "local_ttl": 600}
    layered = {"BACKEND": "llmcache.backends.layered.LayeredBackend", "OPTIONS": options}
    with override_settings(LLMCACHE={"near": near, "far": disk, "default": layered}):
        digest = ask(door, **SHORT).key
        far: Store | None = caching.for_alias("far")
        assert far is not None
        shared = far.backend.get(digest)
        controls = llmcache.controls.parse(LONG)
        prolonging._lengthen(far, digest, controls)  # as another process does
        assert far.backend.get(digest) != shared
        assert ask(door, **LONG).layer == "near"  # whose copy has the old end
    assert counted("lengthened") == 1
