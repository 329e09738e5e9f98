"""What turns the cache on and off: for a call, a process, a site. Sync and async alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

import llmcache
from llmcache import Cache, InvalidRequest, backends
from llmcache.upstreams.fake import FakeUpstream
from tests.test_completion import ASK


class TestSwitches:
    def test_caching_false_bypasses(self, door: Any, upstream: FakeUpstream) -> None:
        door.completion(**ASK, caching=True)
        response = door.completion(**ASK, caching=False)
        assert (response.cache.outcome, response.cache.key) == ("bypass", None)
        assert upstream.call_count == 2

    def test_no_cache_at_all_bypasses(self, door: Any, upstream: FakeUpstream) -> None:
        llmcache.cache = None
        door.completion(**ASK)
        assert door.completion(**ASK).cache.reason == "the cache is off"
        assert upstream.call_count == 2

    def test_default_off_caches_only_calls_that_say_so(self, door: Any) -> None:
        llmcache.cache = Cache(mode="default_off")
        door.completion(**ASK)
        assert door.completion(**ASK).cache.outcome == "bypass"
        door.completion(**ASK, cache={"use-cache": True})
        assert door.completion(**ASK, cache={"use-cache": True}).cache.hit
        assert door.completion(**ASK).cache.outcome == "bypass"
        door.embedding(model="e", input=["a"])
        assert door.embedding(model="e", input=["a"]).cache.outcome == "bypass"
        door.embedding(model="e", input=["a"], cache={"use-cache": True})
        assert door.embedding(model="e", input=["a"], cache={"use-cache": True}).cache.hit

    def test_the_modes_of_the_settings(self, door: Any) -> None:
        with override_settings(LLMCACHE_CONFIG={"MODE": "default_off"}):
            assert door.completion(**ASK).cache.outcome == "bypass"
        with override_settings(LLMCACHE_CONFIG={"MODE": "off"}):
            assert door.completion(**ASK).cache.outcome == "bypass"
        assert door.completion(**ASK).cache.outcome == "miss"

    def test_call_types_that_are_not_supported_bypass(self, door: Any) -> None:
        llmcache.cache = Cache(supported_call_types=["embedding", "aembedding"])
        assert door.completion(**ASK).cache.outcome == "bypass"
        door.embedding(model="e", input=["a"])
        assert door.embedding(model="e", input=["a"]).cache.hit

    def test_enable_disable_and_update(self, door: Any) -> None:
        llmcache.enable_cache(type="local", ttl=60)
        door.completion(**ASK)
        assert door.completion(**ASK).cache.hit
        llmcache.update_cache(namespace="other", ttl=0.2)
        assert door.completion(**ASK).cache.outcome == "miss"
        assert (llmcache.cache.namespace, llmcache.cache.ttl) == ("other", 0.2)
        llmcache.disable_cache()
        assert llmcache.cache is None
        with pytest.raises(InvalidRequest, match="enable_cache"):
            llmcache.update_cache(ttl=1)

    def test_an_update_leaves_the_entries_in_the_store_that_the_settings_describe(
        self, door: Any, tmp_path: Path
    ) -> None:
        disk = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(tmp_path)}
        with override_settings(LLMCACHE={"default": disk}):
            door.completion(**ASK)
            llmcache.update_cache(ttl=60)
            llmcache.update_cache(supported_call_types=["completion", "acompletion"])
            assert (llmcache.cache.ttl, llmcache.cache.alias) == (60, "default")
            response = door.completion(**ASK)
            assert (response.cache.outcome, response.cache.layer) == ("hit", "default")
            door.embedding(model="e", input=["a"])
            assert door.embedding(model="e", input=["a"]).cache.outcome == "bypass"
            llmcache.update_cache(mode="default_off", namespace="other")
            assert door.completion(**ASK).cache.outcome == "bypass"
            opted = {"use-cache": True}
            assert door.completion(**ASK, cache=opted).cache.outcome == "miss"
            assert door.completion(**ASK, cache=opted).cache.outcome == "hit"
            assert len(list(backends.stores["default"].iterate())) == 2

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"host": "x"}, "describe the store 'default': change host there"),
            ({"tttl": 1}, "change tttl there"),
            ({"mode": "on"}, "Unknown mode 'on'"),
            ({"supported_call_types": ["poem"]}, "'poem'"),
        ],
    )
    def test_what_an_update_cannot_change_is_refused(
        self, changes: dict[str, Any], words: str
    ) -> None:
        before = llmcache.cache
        with pytest.raises(InvalidRequest, match=words):
            llmcache.update_cache(**changes)
        assert llmcache.cache is before

    def test_an_update_with_a_type_is_another_store(self) -> None:
        llmcache.update_cache(type="local", ttl=5)
        assert (llmcache.cache.alias, llmcache.cache.ttl) == ("local", 5)

    def test_as_context_managers_they_hold_for_the_body_only(self, door: Any) -> None:
        before = llmcache.cache
        with llmcache.disable_cache():
            assert llmcache.cache is None
            with llmcache.enable_cache(type="local", namespace="inner") as inner:
                assert llmcache.cache is inner
            assert llmcache.cache is None
        assert llmcache.cache is before

    def test_a_context_manager_leaves_other_threads_alone(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool, llmcache.disable_cache():
            assert pool.submit(lambda: llmcache.cache).result() is not None

    def test_a_wrong_cache_is_an_error_where_it_is_assigned(self) -> None:
        with pytest.raises(InvalidRequest, match="enable_cache"):
            llmcache.cache = "redis"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"type": "rediss"}, "'redis'"),
            ({"mode": "off"}, "default_off"),
            ({"supported_call_types": ["completions"]}, "'completion'"),
            ({"tll": 3}, "'ttl'"),
            ({"type": "s3"}, "s3_bucket_name"),
        ],
        ids=repr,
    )
    def test_a_wrong_parameter_of_cache_names_the_right_ones(
        self, arguments: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(InvalidRequest, match=words):
            Cache(**arguments)
