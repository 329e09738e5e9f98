"""The OPTIONS of matching: what they mean, and what is wrong with wrong ones."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

import llmcache
from llmcache import caching, matching
from llmcache.checks import check_settings
from llmcache.exceptions import InvalidRequest
from tests.matching.conftest import WORDS

LOCAL = "127.0.0.1"
JUDGE = {"BACKEND": "tests.matching.verdicts.FixedJudge", "OPTIONS": {"says": True}}


def store(location: Any, **options: Any) -> dict[str, Any]:
    return {
        "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
        "LOCATION": str(location),
        "OPTIONS": {"embedder": WORDS, **options},
    }


def matcher() -> matching.Matcher:
    cache = caching.for_alias("default")
    assert cache is not None
    found = matching.for_store(cache)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"similarity_threshold": 80}, "similarity_threshold"),
        ({"similarity_threshold": "0.8"}, "similarity_threshold"),
        ({"mode": "dark"}, "serve, shadow"),
        ({"audit": 2}, "audit"),
        ({"neighbours": 0}, "neighbours"),
        ({"guards": ["nubmers"]}, "numbers"),
        ({"judge_band": [0.7, 0.8]}, "judge"),
        ({"judge": JUDGE, "judge_band": [0.8, 0.7]}, "the lower one first"),
        ({"judge": JUDGE, "judge_band": 0.7}, "the lower one first"),
        ({"judge": "nobody.NoJudge"}, "judge"),
        ({"embedder": "nobody.NoEmbedder"}, "embedder"),
        ({"embedder": {"BACKEND": "minilm", "OPTIONS": {"modle_path": "x"}}}, "model_path"),
        ({"similarity_treshold": 0.8}, "similarity_threshold"),
    ],
)
def test_a_wrong_option_is_an_error_that_names_it(
    tmp_path: Any, options: dict[str, Any], words: str
) -> None:
    with override_settings(LLMCACHE={"default": store(tmp_path, **options)}):
        with pytest.raises((ImproperlyConfigured, InvalidRequest), match=words):
            matcher()
        found = [message for message in check_settings() if message.id == "llmcache.E002"]
        assert words in found[0].msg


def test_the_threshold_is_the_embedders_unless_the_settings_say_so(tmp_path: Any) -> None:
    with override_settings(LLMCACHE={"default": store(tmp_path)}):
        assert matcher().threshold == 0.7
    with override_settings(LLMCACHE={"default": store(tmp_path, similarity_threshold=0.85)}):
        assert matcher().threshold == 0.85


def test_a_band_lies_round_the_threshold_unless_the_settings_say_so(tmp_path: Any) -> None:
    with override_settings(LLMCACHE={"default": store(tmp_path, judge=JUDGE)}):
        assert matcher().judge_band == pytest.approx((0.65, 0.8))


def test_two_aliases_have_their_own_rules(tmp_path: Any) -> None:
    stores = {
        "default": store(tmp_path / "a", similarity_threshold=0.8),
        "other": store(tmp_path / "b", similarity_threshold=0.9),
    }
    with override_settings(LLMCACHE=stores):
        other = caching.for_alias("other")
        assert other is not None
        found = matching.for_store(other)
        assert found is not None
        assert (matcher().threshold, found.threshold) == (0.8, 0.9)


def ids(**config: Any) -> set[str | None]:
    with override_settings(LLMCACHE_CONFIG=config):
        return {message.id for message in check_settings()} & {"llmcache.W110", "llmcache.E007"}


def test_a_missing_scope_is_a_warning_or_with_require_scope_an_error(tmp_path: Any) -> None:
    with override_settings(LLMCACHE={"default": store(tmp_path)}):
        assert ids() == {"llmcache.W110"}
        assert ids(SCOPE=lambda: "me") == set()
        assert ids(REQUIRE_SCOPE=True) == {"llmcache.E007"}
        assert ids(REQUIRE_SCOPE=True, SCOPE=lambda: "me") == set()


def test_an_exact_store_needs_no_scope() -> None:
    assert ids() == set()


# --- the page's own words ---


def test_the_pages_cache_is_made_as_it_says(redis_server: Any) -> None:
    cache = llmcache.Cache(
        type="redis-semantic",
        host=LOCAL,
        port=redis_server.port,
        similarity_threshold=0.8,
        redis_semantic_cache_use_async=True,
        redis_semantic_cache_embedding_model="text-embedding-3-small",
        embedder=WORDS,
    )
    llmcache.cache = cache
    found = matching.for_store(cache)
    assert found is not None
    assert found.threshold == 0.8
    first = llmcache.completion(
        "m", messages=[{"role": "user", "content": "how do I reset the word on my door please"}]
    )
    again = llmcache.completion(
        "m", messages=[{"role": "user", "content": "hi how do I reset the word on my door please"}]
    )
    assert again.id == first.id
    cache.backend.clear()


def test_the_pages_embedding_model_is_asked_of_its_provider(redis_server: Any) -> None:
    cache = llmcache.Cache(type="redis-semantic", host=LOCAL, port=redis_server.port)
    found = matching.for_store(cache)
    assert found is not None
    assert found.embedder.options["model"] == "text-embedding-ada-002"
    assert found.embedder.embed("a text") is not None
    assert found.threshold == found.embedder.threshold
    cache.backend.clear()
