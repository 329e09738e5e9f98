"""Counting, asserts, canned answers and the empty cache of each test."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse

import llmcache
from llmcache import conf, state
from llmcache.backends.memory import MemoryBackend
from llmcache.backends.semantic.local import LocalSemanticBackend
from llmcache.caching import Cache, for_alias
from llmcache.exceptions import InvalidRequest, RateLimited
from llmcache.http.cache_status import headers_for
from llmcache.testing import (
    FakeAnswers,
    UnexpectedLiveCall,
    UpstreamCalls,
    assert_cached,
    assert_evicted,
    assert_in_cache,
    assert_not_cached,
    assert_outcome,
    assert_saved_tokens,
    assert_upstream_calls,
    block_live_calls,
    isolated_cache,
)
from llmcache.upstreams.fake import FakeUpstream
from tests.doors import AsyncDoor, SyncDoor
from tests.servers.provider import Provider
from tests.testing.conftest import asked

Door = SyncDoor | AsyncDoor


def test_calls_that_the_cache_does_not_answer_are_counted(
    door: Door, upstream: FakeUpstream
) -> None:
    with assert_upstream_calls(3) as calls:
        for _ in range(2):
            door.completion(**asked("one"))
        door.chunks(door.completion(**asked("two"), stream=True))
        door.embedding(model="e", input=["a"])
    assert [call.kind for call in calls] == ["completion", "completion", "embedding"]
    assert [call.stream for call in calls] == [False, True, False]
    assert calls[0].params == {"messages": asked("one")["messages"]}
    assert calls[1:][0].provider == "default"


def test_a_wrong_number_of_calls_is_told_with_the_calls(upstream: FakeUpstream) -> None:
    with pytest.raises(AssertionError) as caught, assert_upstream_calls(1):
        for text in ("one", "two"):
            llmcache.completion(**asked(text))
    assert str(caught.value) == (
        "1 upstream calls expected, 2 made:\n"
        "  1: completion 'm' at 'default': 'one'\n"
        "  2: completion 'm' at 'default': 'two'"
    )
    told = "2 upstream calls expected, none made"
    with pytest.raises(AssertionError, match=told), assert_upstream_calls(2):
        pass


def test_counting_may_begin_anew_and_blocks_may_be_one_inside_the_other(
    upstream: FakeUpstream,
) -> None:
    with UpstreamCalls() as outer:
        llmcache.completion(**asked("one"))
        with UpstreamCalls() as inner:
            llmcache.completion(**asked("two"))
        outer.assert_count(2)
        inner.assert_count(1)
        outer.clear()
        outer.assert_count(0)
    llmcache.completion(**asked("three"))
    outer.assert_count(0)


def test_asserts_of_answers(door: Door, upstream: FakeUpstream) -> None:
    first, second = (door.completion(**asked()) for _ in range(2))
    assert_not_cached(first)
    assert_cached(second)
    assert_outcome(first, "miss")
    assert_outcome(second, "hit")
    assert_saved_tokens(second)
    assert_saved_tokens(second, second.usage.total_tokens)
    assert_saved_tokens(first, 0)
    for wrong, told in (
        (lambda: assert_cached(first), "Not from the cache: miss"),
        (lambda: assert_not_cached(second), "From the cache: hit"),
        (lambda: assert_outcome(second, "miss"), "The outcome is 'hit', not 'miss'"),
        (lambda: assert_saved_tokens(first), "0 tokens saved, not some: miss"),
        (lambda: assert_saved_tokens(second, 1), "tokens saved, not 1: hit"),
    ):
        with pytest.raises(AssertionError, match=told):
            wrong()
    with pytest.raises(InvalidRequest, match="outcome 'hti'"):
        assert_outcome(first, "hti")


def test_asserts_of_http_responses_read_their_headers(upstream: FakeUpstream) -> None:
    first, second = (llmcache.completion(**asked(), cache={"s-maxage": n}) for n in (0, 60))
    miss, hit = (HttpResponse(headers=headers_for(made.cache)) for made in (first, second))
    assert_not_cached(miss)
    assert_outcome(hit, "hit")
    assert_cached(hit)
    assert_saved_tokens(hit, second.cache.saved_tokens)
    with pytest.raises(AssertionError, match="does not say where it came from"):
        assert_cached(HttpResponse())


def test_a_failure_tells_why_there_was_no_hit(upstream: FakeUpstream) -> None:
    response = llmcache.completion(**asked(), caching=False)
    with pytest.raises(AssertionError, match=r"Not from the cache: bypass \(.+\)"):
        assert_cached(response)


@pytest.mark.django_db
def test_asserts_of_entries(door: Door, upstream: FakeUpstream) -> None:
    assert_evicted(**asked())
    with pytest.raises(AssertionError, match="'default' has no entry for this call; its key: "):
        assert_in_cache(**asked())
    response = door.completion(**asked())
    with assert_upstream_calls(0):
        assert_in_cache(**asked())
    with pytest.raises(AssertionError, match="has an entry"):
        assert_evicted(**asked())
    llmcache.evict(digest=response.cache.key)
    assert_evicted(**asked())


def test_asserts_of_entries_of_other_kinds_and_aliases(upstream: FakeUpstream) -> None:
    llmcache.embedding(model="e", input=["a", "b"])
    assert_in_cache(model="e", kind="embedding", input=["b", "a"])
    with pytest.raises(AssertionError):
        assert_in_cache(model="e", kind="embedding", input=["a", "c"])
    with pytest.raises(AssertionError, match="bypasses the cache"):
        assert_in_cache(**asked(), caching=False)
    with pytest.raises(InvalidRequest, match="alias"):
        assert_in_cache(**asked(), using="nowhere")
    state.use(None)
    with pytest.raises(InvalidRequest, match="cache is off"):
        assert_in_cache(**asked())


def test_an_entry_that_is_still_being_written_counts_and_one_past_its_ttl_does_not(
    upstream: FakeUpstream, settings: Any
) -> None:
    settings.LLMCACHE_CONFIG = {"WRITER": "thread"}
    for number in range(20):
        llmcache.completion(**asked(str(number)))
        assert_in_cache(**asked(str(number)))
    controls = {"ttl": 0.01, "stale-while-revalidate": 600}
    llmcache.completion(**asked("short"), cache=controls)
    time.sleep(0.02)
    assert_evicted(**asked("short"))


# --- answers without a cassette ---


def test_fake_answers_are_texts_errors_and_functions(door: Door, site: Provider) -> None:
    with FakeAnswers({"hi": "hello"}) as fake:
        fake.answers["fail"] = 404
        fake.answers["wait"] = RateLimited("slowly", status=429, retry_after=5)
        fake.answers["model"] = lambda request: f"I am {request.model}"
        assert door.completion(**asked("hi")).choices[0].message.content == "hello"
        chunks = door.chunks(door.completion(**asked("model"), stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "I am m"
        with pytest.raises(llmcache.UpstreamError, match="404"):
            door.completion(**asked("fail"))
        with pytest.raises(RateLimited) as caught:
            door.completion(**asked("wait"))
        assert caught.value.retry_after == 5
        assert door.completion(**asked("else")).choices[0].message.content == "You said: else"
        fake.default = "no idea"
        assert door.completion(**asked("other")).choices[0].message.content == "no idea"
        fake.calls.assert_count(6)
    assert site.requests == []


def test_fake_answers_stand_in_for_every_provider_with_its_keys(
    site: Provider, settings: Any
) -> None:
    llmcache.completion(**asked())
    assert len(site.requests) == 1
    with FakeAnswers():
        assert_cached(llmcache.completion(**asked()))


def test_live_calls_may_be_blocked_but_for_those_to_a_fake(
    site: Provider, settings: Any, door: Door
) -> None:
    with pytest.raises(UnexpectedLiveCall, match="no cassette is in use"), block_live_calls():
        door.completion(**asked())
    assert site.requests == []
    backend = "llmcache.upstreams.fake.FakeUpstream"
    settings.LLMCACHE_PROVIDERS = {"default": {"BACKEND": backend}}
    with block_live_calls():
        door.completion(**asked())


# --- the empty cache ---


def test_every_alias_begins_empty_and_comes_back(
    upstream: FakeUpstream, settings: Any, tmp_path: Path
) -> None:
    disk = "llmcache.backends.disk.DiskBackend"
    settings.LLMCACHE = {
        "default": {"LOCATION": "default", "TIMEOUT": 60, "KEY_PREFIX": "p", "VERSION": 3},
        "disk": {"BACKEND": disk, "LOCATION": str(tmp_path)},
        "lost": {"BACKEND": "nowhere.Backend"},
    }
    for using in ("default", "disk"):
        llmcache.completion(**asked(), using=using)
    with isolated_cache():
        for using in ("default", "disk", "lost"):
            assert_not_cached(llmcache.completion(**asked(), using=using))
            cache = for_alias(using)
            assert cache is not None
            assert isinstance(cache.backend, MemoryBackend)
        kept = conf.backends()["default"]
        assert (kept.timeout, kept.key_prefix, kept.version) == (60, "p", 3)
    for using in ("default", "disk"):
        assert_cached(llmcache.completion(**asked(), using=using))


def test_threads_meet_the_same_empty_cache(upstream: FakeUpstream) -> None:
    found: list[Any] = []
    llmcache.completion(**asked())
    with isolated_cache():
        assert_not_cached(llmcache.completion(**asked()))
        thread = threading.Thread(target=lambda: found.append(llmcache.completion(**asked())))
        thread.start()
        thread.join()
    assert_cached(found[0])


def test_an_alias_that_is_searched_by_meaning_stays_so(settings: Any, tmp_path: Path) -> None:
    backend = "llmcache.backends.semantic.local.LocalSemanticBackend"
    options = {"embedder": "minilm", "similarity_threshold": 0.9, "memory_limit": 1000}
    settings.LLMCACHE = {
        "similar": {"BACKEND": backend, "LOCATION": str(tmp_path), "OPTIONS": options}
    }
    with isolated_cache():
        cache = for_alias("similar")
        assert cache is not None
        assert isinstance(cache.backend, LocalSemanticBackend)
        used = conf.backends()["similar"]
        assert used.options == {"embedder": "minilm", "similarity_threshold": 0.9}
        assert used.location != str(tmp_path)
        assert Path(used.location).is_dir()
    assert not Path(used.location).exists()


def test_a_cache_of_the_programs_own_is_replaced_by_an_empty_one_like_it(
    upstream: FakeUpstream,
) -> None:
    own = Cache(ttl=7, namespace="n", supported_call_types=["completion"], mode="default_off")
    own.get_cache_key = lambda **kwargs: "always the same"
    state.use(own)
    with isolated_cache():
        used = state.current()
        assert used is not None and used is not own
        assert (used.ttl, used.namespace, used.opt_in) == (7, "n", True)
        assert used.supported_call_types == {"completion"}
        assert used.get_cache_key() == own.get_cache_key()
    assert state.current() is own


def test_a_cache_with_a_key_of_ones_own_or_without_is_replaced_alike() -> None:
    state.use(Cache(ttl=7))
    with isolated_cache():
        used = state.current()
        assert used is not None and used.ttl == 7 and not used.custom
