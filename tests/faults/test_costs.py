"""What a store that hangs may cost a call, and a store that cannot be written to its readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from llmcache import caching
from llmcache.backends.redis import RedisBackend
from tests.faults import of_redis, parts
from tests.faults.test_stores import ask, is_hit, question


def site(part: parts.Part, config: dict[str, Any]) -> override_settings:
    return override_settings(LLMCACHE={"default": part.store}, LLMCACHE_CONFIG=config)


def test_a_call_waits_for_a_store_that_hangs_once_only(
    door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: Callable[[str], int]
) -> None:
    asked: list[str] = []
    for name in ("get", "aget", "set", "aset", "claim", "aclaim"):
        monkeypatch.setattr(RedisBackend, name, noted(getattr(RedisBackend, name), asked, name))
    config = {"BACKEND_TIMEOUT": 0.2}
    with of_redis.redis_hangs(tmp_path) as part, site(part, config):
        text = question()
        ask(door, text)
        assert is_hit(door, text)
        part.strike()
        del asked[:]
        try:
            outcomes = [ask(door, question(), stream=bool(n % 2)) for n in range(12)]
        finally:
            part.mend()
    assert outcomes == ["error"] * 12
    assert [name.removeprefix("a") for name in asked] == ["get"] * 5  # then the breaker is open
    assert (counted("read_error"), counted("write_error"), counted("claim_error")) == (5, 0, 0)


def noted(method: Any, asked: list[str], name: str) -> Any:
    def note(*args: Any) -> Any:
        asked.append(name)
        return method(*args)

    return note


def test_a_store_that_is_full_still_answers_what_it_has(
    door: Any, tmp_path: Path, counted: Callable[[str], int]
) -> None:
    config = {"BACKEND_TIMEOUT": 5.0, "BREAKER_THRESHOLD": 2, "BREAKER_COOLDOWN": 600}
    with of_redis.redis_is_full(tmp_path) as part, site(part, config):
        text = question()
        ask(door, text)
        part.strike()
        for _ in range(5):
            ask(door, question())
            assert ask(door, text) == "hit"
        store = caching.for_alias("default")
        assert store is not None
        assert (store.breaker.is_open, store.write_breaker.is_open) == (False, True)
        assert counted("write_skipped") >= 3  # nor is it asked in vain for long
        part.mend()
