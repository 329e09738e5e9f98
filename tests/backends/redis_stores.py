"""Stores in a Redis at a URL: by itself, or over either kind of CACHES alias."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from django.test import override_settings

from llmcache.backends.django import DjangoCacheBackend
from llmcache.backends.redis import RedisBackend
from llmcache.backends.redis_commands import RedisCommands
from llmcache.conf import BackendSettings
from tests.backends.stores import unique

A, B = (sha256(name).hexdigest() for name in (b"a", b"b"))
CLASSES = ("django.core.cache.backends.redis.RedisCache", "django_redis.cache.RedisCache")


def direct(url: str, **changes: Any) -> RedisBackend:
    return RedisBackend(BackendSettings(alias="r", location=url, key_prefix=unique(), **changes))


def through(backend: str, location: Any, **description: Any) -> RedisCommands:
    """A store over an entry of CACHES, which holds while the store is made."""
    entry = {"BACKEND": backend, "LOCATION": location, **description}
    with override_settings(CACHES={"default": entry}):
        store = DjangoCacheBackend(BackendSettings(alias="r", key_prefix=unique()))
        assert isinstance(store, RedisCommands)
        return store


@contextmanager
def nothing_left_open() -> Iterator[None]:
    """Connections that were opened meanwhile have been closed, not just forgotten."""
    with warnings.catch_warnings(record=True) as told:
        gc.collect()  # what earlier tests have forgotten is not this one's
        told.clear()
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(one.message) for one in told if one.category is ResourceWarning] == []


def makers() -> dict[str, Any]:
    """Functions that make a store at a URL, by kind."""

    def over(backend: str) -> Any:
        return lambda url: through(backend, url)

    return {"direct": direct, **{backend: over(backend) for backend in CLASSES}}
