"""Answers that are to be kept for ever, past their ttl or before it, and for longer than any
calendar has: the same thing to every store and to the index."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from llmcache import backends, maintenance, prolonging, writer
from llmcache.envelope import Envelope, unseal
from llmcache.models import Entry
from llmcache.recorder import recorder
from llmcache.refreshing import refresh
from llmcache.upstreams import upstreams

pytestmark = pytest.mark.django_db(transaction=True)
ASK = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(params=["locmem", "memory", "disk", "redis", "by meaning"], autouse=True)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """A store of each kind that has an own way with time."""
    here = {"LOCATION": str(tmp_path)}
    stores: dict[str, dict[str, Any]] = {
        "locmem": {"LOCATION": "default"},
        "memory": {"BACKEND": "llmcache.backends.memory.MemoryBackend"},
        "disk": {"BACKEND": "llmcache.backends.disk.DiskBackend", **here},
        "by meaning": {
            "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
            "OPTIONS": {"embedder": "tests.matching.words.WordEmbedder"},
            **here,
        },
    }
    if request.param == "redis":
        stores["redis"] = {
            "BACKEND": "llmcache.backends.redis.RedisBackend",
            "LOCATION": request.getfixturevalue("redis_server").url,
            "KEY_PREFIX": uuid.uuid4().hex,
        }
    patient = {"BACKEND_TIMEOUT": 10, "STORE_PROMPTS": "full"}
    with override_settings(LLMCACHE={"default": stores[request.param]}, LLMCACHE_CONFIG=patient):
        yield


def ask(door: Any, **cache: Any) -> Any:
    """Where an answer came from; what it brings is in store and index afterwards."""
    info = door.completion(**ASK, cache=cache).cache
    writer.flush()
    recorder.flush()
    return info


def ends() -> tuple[bool, bool]:
    """Whether the one entry of the index, and so its envelope, is ever stale, and ever gone."""
    entry = Entry.objects.get()
    found = entry.expires is not None, entry.kept_until is not None
    envelope = opened(entry.digest)
    assert found == (math.isfinite(envelope.expires), math.isfinite(envelope.stale_until))
    return found


def opened(digest: str) -> Envelope:
    backend = backends.stores["default"]
    data = backend.get(digest)
    assert data is not None
    return unseal(digest, data, signed=not backend.process_local)


@pytest.mark.parametrize("ttl", [math.inf, 1e12, 1e300])
def test_a_ttl_that_no_calendar_has_is_without_end(door: Any, ttl: float) -> None:
    assert ask(door, ttl=ttl).outcome == "miss"
    assert ask(door).outcome == "hit"
    assert ends() == (False, False)


@pytest.mark.parametrize("window", [math.inf, 1e12])
def test_a_stale_answer_may_be_kept_for_ever(door: Any, window: float) -> None:
    ask(door, ttl=0.01, **{"stale-if-error": window})
    assert ends() == (True, False)
    time.sleep(0.02)
    upstreams["default"].fail = 500  # type: ignore[attr-defined]
    assert ask(door, **{"stale-if-error": window}).outcome == "stale"


def test_it_stays_so_when_staff_change_the_ttl_or_ask_again(door: Any) -> None:
    ask(door, ttl=100, **{"stale-if-error": math.inf})
    maintenance.set_ttl(Entry.objects.get(), 50)
    assert ends() == (True, False)
    refresh(Entry.objects.get())
    recorder.flush()
    assert ends() == (True, False)
    maintenance.set_ttl(Entry.objects.get(), 1e12)
    assert ends() == (False, False)
    maintenance.set_ttl(Entry.objects.get(), 50)
    assert ends() == (True, True)


def test_it_stays_so_when_a_hit_lets_it_live_longer(
    door: Any, counted: Callable[[str], int]
) -> None:
    ask(door, ttl=100, **{"stale-if-error": math.inf})
    prolonging._resting.clear()
    ask(door, ttl=1000, **{"refresh-ttl-on-hit": True})
    assert counted("lengthened") == 1
    assert ends() == (True, False)
    assert opened(Entry.objects.get().digest).expires > time.time() + 500
