"""What only a store in Django's LocMemCache must do: keep to its bounds, read without waiting."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

from django.core.cache import caches
from django.test import override_settings

from llmcache.backends.django import DjangoCacheBackend
from llmcache.conf import BackendSettings


def digest(name: object) -> str:
    return sha256(str(name).encode()).hexdigest()


def locmem(**options: Any) -> Any:
    backend = "django.core.cache.backends.locmem.LocMemCache"
    entry = {"BACKEND": backend, "LOCATION": "test_locmem", "OPTIONS": options}
    return override_settings(CACHES={"default": entry})


def test_locmem_keeps_to_max_entries_and_leaves_other_keys_readable() -> None:
    with locmem(MAX_ENTRIES=20):
        caches["default"].clear()
        caches["default"].set("theirs", {"a": 1}, 60)
        store = DjangoCacheBackend(BackendSettings(alias="m"))
        for number in range(100):
            store.set(digest(number), b"x", 60)
            assert caches["default"].get("theirs") == {"a": 1}
            assert len(caches["default"]._cache) <= 20  # type: ignore[attr-defined]
        assert store.clear() > 0
        assert caches["default"].get("theirs") == {"a": 1}


def test_locmem_forgets_the_unread_first() -> None:
    with locmem(MAX_ENTRIES=20):
        caches["default"].clear()
        store = DjangoCacheBackend(BackendSettings(alias="m"))
        store.set(digest("read"), b"x", 60)
        for number in range(100):
            store.set(digest(number), b"x", 60)
            assert store.get(digest("read")) == b"x"


def test_reading_locmem_does_not_wait_for_a_writer() -> None:
    with locmem():
        store = DjangoCacheBackend(BackendSettings(alias="m"))
        store.set(digest(1), b"x", 60)
        with caches["default"]._lock, ThreadPoolExecutor(1) as pool:  # type: ignore[attr-defined]
            assert pool.submit(store.get, digest(1)).result(timeout=10) == b"x"
