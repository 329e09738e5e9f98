"""REFRESH_TTL_ON_HIT over stores that fail, and entries that have changed since they served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from llmcache import backends, caching, maintenance, prolonging, writer
from llmcache.controls import parse
from llmcache.models import Entry
from llmcache.recorder import recorder
from llmcache.store import Store

pytestmark = [pytest.mark.django_db(transaction=True)]
LONG = {"ttl": 1000, "refresh-ttl-on-hit": True}


@pytest.fixture(autouse=True)
def site(tmp_path: Path) -> Any:
    """A store in memory over one on disk."""
    stores = {
        "near": {"BACKEND": "llmcache.backends.memory.MemoryBackend"},
        "far": {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(tmp_path)},
        "default": {
            "BACKEND": "llmcache.backends.layered.LayeredBackend",
            "OPTIONS": {"layers": ["near", "far"], "local_ttl": 600},
        },
    }
    with override_settings(LLMCACHE=stores):
        yield


def ask(door: Any, text: str = "hello", **cache: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    info = door.completion("m", messages=messages, cache=cache).cache
    writer.flush()
    recorder.flush()
    return info


def test_a_damaged_entry_under_a_good_copy_is_left_to_who_reads_it(
    door: Any, counted: Callable[[str], int]
) -> None:
    digest = ask(door, ttl=100).key
    backends.stores["far"].set(digest, b"damaged", 60)
    assert ask(door, **LONG).layer == "near"
    assert backends.stores["far"].get(digest) == b"damaged"
    assert (counted("lengthened"), counted("lengthen_error")) == (0, 0)


def test_an_end_that_staff_set_meanwhile_holds_though_a_copy_shows_the_old_one(
    door: Any, counted: Callable[[str], int]
) -> None:
    digest = ask(door, ttl=100).key
    near = backends.stores["near"]
    copy = near.get(digest)
    assert copy is not None
    maintenance.set_ttl(Entry.objects.get(), 50)
    near.set(digest, copy, 600)
    before = backends.stores["far"].get(digest)
    assert ask(door, **LONG).layer == "near"
    assert backends.stores["far"].get(digest) == before and counted("lengthened") == 0


def test_a_store_that_rests_is_left_alone(
    door: Any, failing: Any, counted: Callable[[str], int]
) -> None:
    digest = ask(door, ttl=100).key
    store: Store | None = caching.for_alias("default")
    assert store is not None
    failing(store.backend, "replace", "unplugged")
    for _ in range(20):
        prolonging._lengthen(store, digest, parse(LONG))
    assert 0 < counted("lengthen_error") < 20


def test_what_was_dealt_with_is_forgotten_before_it_fills_the_memory(
    door: Any, counted: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prolonging, "_MOST", 3)
    for number in range(5):
        ask(door, str(number), ttl=100)
        ask(door, str(number), **LONG)
    assert counted("lengthened") == 5 and len(prolonging._resting) <= 3
