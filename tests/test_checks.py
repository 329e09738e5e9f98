"""Wrong settings are system check errors with an id, before the first call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from llmcache import Cache, conf
from llmcache.checks import check_settings
from llmcache.configuration import LOGGED
from llmcache.outcome import FAILED, OUTCOMES
from tests.decorators.doors import Urls
from tests.extras import needs

REDIS = "llmcache.backends.redis.RedisBackend"
DISK = "llmcache.backends.disk.DiskBackend"
S3 = "llmcache.backends.s3.S3Backend"
LAYERED = "llmcache.backends.layered.LayeredBackend"


def messages(**settings: Any) -> list[tuple[str, str]]:
    with override_settings(**settings):
        return [(message.id, message.msg) for message in check_settings()]


def aliases(**described: Any) -> dict[str, Any]:
    return {"LLMCACHE": {"default": {}, **described}}


def test_the_suites_own_settings_have_only_the_warning_of_a_process_local_store() -> None:
    assert [check_id for check_id, _ in messages()] == ["llmcache.W101"]


@pytest.mark.parametrize(
    ("settings", "check_id", "words"),
    [
        ({"LLMCACHE_CONFIG": {"MOED": "on"}}, "E001", "'MODE'"),
        ({"LLMCACHE_CONFIG": {"MODE": "sometimes"}}, "E001", "on, default_off, off"),
        ({"LLMCACHE_CONFIG": {"TTL_JITTER": 0.9}}, "E001", "0 to 0.5"),
        ({"LLMCACHE_CONFIG": {"BACKEND_TIMEOUT": 0}}, "E001", "above 0"),
        ({"LLMCACHE_CONFIG": {"LOG_SAMPLE": 2}}, "E001", "0 to 1"),
        ({"LLMCACHE_CONFIG": {"LOG_SAMPLE": {"hits": 0.1}}}, "E001", "hit, stale, coalesced"),
        ({"LLMCACHE_CONFIG": {"LOG_SAMPLE": {"hit": -1}}}, "E001", "shares by outcome"),
        ({"LLMCACHE_CONFIG": {"HIT_SAMPLE": True}}, "E001", "0 to 1"),
        ({"LLMCACHE_CONFIG": {"SINGLE_FLIGHT": 1}}, "E001", "True or False"),
        ({"LLMCACHE_CONFIG": {"PRICING": {"m": {"inputs": 1}}}}, "E001", "'input'"),
        ({"LLMCACHE_CONFIG": {"SCOPE": "no.such.function"}}, "E004", "cannot be imported"),
        ({"LLMCACHE_CONFIG": {"SCOPE": "django.VERSION"}}, "E004", "is not callable"),
        ({"LLMCACHE_CONFIG": {"TAG_MODELS": ["no.Such"]}}, "E006", "'no.Such', which is no model"),
        ({"LLMCACHE_CONFIG": {"TAG_MODELS": ["words"]}}, "E006", "'words', which is no model"),
        (
            {"LLMCACHE_CONFIG": {"TAG_MODELS": ["auth.User"], "RECORDER": "off"}},
            "E006",
            "needs the index",
        ),
        ({"LLMCACHE_CONFIG": {"ENDPOINT_CACHE": "none"}}, "E008", "no alias of CACHES"),
        ({"LLMCACHE_CONFIG": []}, "E001", "a dict"),
        (aliases(a={"BACKENDS": "x"}), "E002", "'BACKEND'"),
        (aliases(a={"BACKEND": "no.such.Backend"}), "E002", "cannot be imported"),
        (aliases(a={"BACKEND": "django.core.cache.cache"}), "E002", "not a subclass"),
        (aliases(a={"TIMEOUT": -1}), "E002", "not negative"),
        (aliases(a={"VERSION": "1"}), "E002", "an integer"),
        (aliases(a={"LOCATION": "nowhere"}), "E002", "alias of CACHES"),
        pytest.param(
            aliases(a={"BACKEND": DISK}),
            "E002",
            "must name the directory",
            marks=needs("diskcache"),
        ),
        pytest.param(
            aliases(a={"BACKEND": DISK, "LOCATION": "/d", "OPTIONS": {"size": 1}}),
            "E002",
            "size_limit",
            marks=needs("diskcache"),
        ),
        pytest.param(
            aliases(a={"BACKEND": S3, "LOCATION": "bucket"}),
            "E002",
            "s3://bucket/prefix",
            marks=needs("boto3"),
        ),
        pytest.param(
            aliases(a={"BACKEND": REDIS, "LOCATION": "localhost"}),
            "E002",
            "Redis",
            marks=needs("redis"),
        ),
        (
            aliases(a={"BACKEND": LAYERED, "OPTIONS": {"layers": ["b"]}}),
            "E002",
            "alias of LLMCACHE",
        ),
        (aliases(a={"BACKEND": LAYERED, "OPTIONS": {"layers": ["a"]}}), "E002", "circle"),
        ({"LLMCACHE_PROVIDERS": {"p": {"OPTIONS": {"url": "x"}}}}, "E003", "base_url"),
        ({"LLMCACHE_PROVIDERS": {"p": {"OPTIONS": {"base_url": "x"}}}}, "E003", "http"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_setting_is_an_error_that_names_the_fix(
    settings: dict[str, Any], check_id: str, words: str
) -> None:
    found = [message for name, message in messages(**settings) if name == f"llmcache.{check_id}"]
    assert len(found) == 1
    assert words in found[0]


def test_a_locmem_cache_with_djangos_default_size_is_a_warning() -> None:
    caches = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert "llmcache.W102" in dict(messages(CACHES=caches))


@pytest.mark.parametrize(
    ("more", "warned"),
    [
        ({}, True),
        ({"DEBUG": True}, False),
        ({"ROOT_URLCONF": Urls()}, False),
        ({"ROOT_URLCONF": "no.such.urls"}, False),
        ({"ROOT_URLCONF": None}, False),
        (
            {"CACHES": {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache"}}},
            False,
        ),
    ],
)
def test_limits_that_each_process_counts_for_itself_are_a_warning(
    more: dict[str, Any], warned: bool
) -> None:
    given = {"DEBUG": False, "ROOT_URLCONF": "tests.endpoint.urls", **more}
    assert ("llmcache.W111" in dict(messages(**given))) is warned


def test_a_missing_extra_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from llmcache import packages

    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    for kind, extra in (("redis", "redis"), ("disk", "disk"), ("s3", "s3")):
        with pytest.raises(ImproperlyConfigured, match=rf'"django-llmcache\[{extra}\]"'):
            Cache(type=kind, **({"s3_bucket_name": "b"} if kind == "s3" else {}))


def test_with_no_settings_at_all_there_is_a_default_alias_and_provider() -> None:
    assert conf.backends()["default"].location == "default"
    assert conf.config() == conf.Config()
    with override_settings(LLMCACHE_PROVIDERS={}):
        assert conf.providers()["default"].backend.endswith("OpenAICompatible")


@needs("redis")
def test_secrets_are_in_no_repr() -> None:
    options = {"aws_secret_access_key": "hunter2", "api_key": "hunter2"}
    texts = [
        repr(conf.BackendSettings(alias="a", options=options)),
        repr(conf.ProviderSettings(name="a", options=options)),
        repr(Cache(type="redis", password="hunter2")),
    ]
    assert "hunter2" not in "".join(texts)


def test_a_scope_function_partitions_the_answers(door: Any) -> None:
    who = ["ann"]
    ask = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    with override_settings(LLMCACHE_CONFIG={"SCOPE": lambda: who[0]}):
        door.completion(**ask)
        assert door.completion(**ask).cache.hit
        who[0] = "bob"
        assert not door.completion(**ask).cache.hit
    with override_settings(LLMCACHE_CONFIG={"SCOPE": f"{__name__}.nobody"}):
        assert door.completion(**ask).cache.outcome == "miss"


def nobody() -> None:
    return None


def test_a_site_without_time_zones_is_told_that_nothing_is_recorded() -> None:
    with override_settings(USE_TZ=False):
        assert "llmcache.W109" in {message.id for message in check_settings()}
        with override_settings(LLMCACHE_CONFIG={"RECORDER": "off"}):
            assert "llmcache.W109" not in {message.id for message in check_settings()}


def test_the_log_may_be_sampled_by_every_outcome_that_it_has() -> None:
    assert {*OUTCOMES, FAILED} == set(LOGGED)


def test_what_a_judge_has_to_say_is_said(tmp_path: Path) -> None:
    judge = {"BACKEND": "tests.matching.verdicts.UncertainJudge", "OPTIONS": {"says": True}}
    similar = {
        "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
        "LOCATION": str(tmp_path),
        "OPTIONS": {"embedder": "tests.matching.words.WordEmbedder", "judge": judge},
    }
    assert ("site.W001", "The judge is not certain.") in messages(**aliases(similar=similar))
