"""A store in one of Django's caches: LOCATION is an alias of CACHES, "default" if not given.

`DjangoCacheBackend` makes the store that fits the alias's class. Those for Django's own caches and
for django-redis bypass the cache's serializer, which would unpickle what others wrote; any other
cache is used through Django's public API.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache, default_key_func
from django.core.cache.backends.dummy import DummyCache
from django.core.checks import CheckMessage, Warning
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from llmcache.backends.base import CLAIM, BaseBackend, Item
from llmcache.backends.keyspace import Keyspace, around
from llmcache.conf import BackendSettings
from llmcache.exceptions import InvalidRequest, LLMCacheError, UnsupportedOperation
from llmcache.options import Options

_KINDS = {
    "django.core.cache.backends.locmem.LocMemCache": (
        "llmcache.backends.django_locmem.LocMemBackend"
    ),
    "django.core.cache.backends.filebased.FileBasedCache": (
        "llmcache.backends.django_file.FileBackend"
    ),
    "django.core.cache.backends.db.DatabaseCache": (
        "llmcache.backends.django_database.DatabaseBackend"
    ),
    "django.core.cache.backends.redis.RedisCache": (
        "llmcache.backends.django_redis.DjangoRedisBackend"
    ),
    "django_redis.cache.RedisCache": "llmcache.backends.django_redis.DjangoRedisPackageBackend",
}


class ForeignValue(LLMCacheError):
    """The cache holds something under one of our keys that we have not written."""


class DjangoCacheBackend(BaseBackend):
    """LOCATION: the alias of CACHES whose cache to use. It takes no OPTIONS: give them in CACHES.

    Raises:
        ImproperlyConfigured: CACHES has no such alias.
    """

    exact_ttl: bool = False
    supports_iterate: bool = False
    supports_clear: bool = False
    supports_claims: bool = True

    def __new__(cls, settings: BackendSettings) -> DjangoCacheBackend:
        if cls is DjangoCacheBackend:
            kind = _KINDS.get(describe(settings)["BACKEND"])
            if kind is not None:
                cls = import_string(kind)
        return super().__new__(cls)

    def __init__(self, settings: BackendSettings) -> None:
        super().__init__(settings)
        Options(settings, {})
        self.description = describe(settings)
        self.cache_alias = settings.location or "default"
        # A KEY_FUNCTION of the site's own may name another tenant at each call.
        fixed = self.cache.key_func is default_key_func
        self._head = self.cache.make_key(self.prefix) if fixed else ""
        if around(self.make_key) is None:
            self.supports_iterate = self.supports_clear = False

    @property
    def cache(self) -> BaseCache:
        """Django's cache; each thread has its own."""
        return caches[self.cache_alias]

    def make_key(self, digest: str) -> str:
        """The key in the cache's own storage, prefix and version of CACHES included."""
        return self._head + digest if self._head else self.cache.make_key(self.prefix + digest)

    def keyspace(self) -> Keyspace:
        """Where this alias's keys are.

        Raises:
            UnsupportedOperation: a KEY_FUNCTION of CACHES hides them.
        """
        space = around(self.make_key)
        if space is None:
            raise UnsupportedOperation(
                f"CACHES[{self.cache_alias!r}]['KEY_FUNCTION'] hides whose keys are whose; raise "
                f"VERSION of LLMCACHE[{self.alias!r}] instead."
            )
        return space

    # Keys below go through the cache's own make_key.

    def get(self, digest: str) -> bytes | None:
        return _checked(self.cache.get(self.prefix + digest))

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        names = {self.prefix + digest: digest for digest in digests}
        found = self.cache.get_many(names)
        checked = ((names[key], _checked(value)) for key, value in found.items())
        return {digest: data for digest, data in checked if data is not None}

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        self.cache.set(self.prefix + digest, data, whole_seconds(ttl))

    def set_many(self, items: Iterable[Item]) -> None:
        by_ttl: dict[float | None, dict[str, bytes]] = {}
        for digest, data, ttl in items:
            by_ttl.setdefault(whole_seconds(ttl), {})[self.prefix + digest] = data
        for ttl, group in by_ttl.items():
            failed = self.cache.set_many(group, ttl)
            if failed:
                raise LLMCacheError(f"CACHES[{self.cache_alias!r}] did not store {len(failed)}.")

    def delete(self, digest: str) -> bool:
        return bool(self.cache.delete(self.prefix + digest))

    def touch(self, digest: str, ttl: float | None) -> bool:
        return bool(self.cache.touch(self.prefix + digest, whole_seconds(ttl)))

    # Claims: `add` is what Django's API has of atomic steps, so a claim that ends at the moment of
    # its renewal can be lost to both sides: then two processes ask, and nothing worse happens.

    def claim(self, name: str, token: bytes, ttl: float) -> bytes:
        key = f"{self.prefix}{name}-claim"
        held = self.claimed(name)
        if held is not None and not held.startswith(CLAIM):
            self.cache.delete(key)
            held = None
        if held is None and self.cache.add(key, token, whole_seconds(ttl)):
            return token
        return held or self.claimed(name) or b""

    def renew_claim(self, name: str, token: bytes, ttl: float) -> bool:
        key = f"{self.prefix}{name}-claim"
        return self.claimed(name) == token and bool(self.cache.touch(key, whole_seconds(ttl)))

    def end_claim(self, name: str, token: bytes, note: bytes | None, ttl: float) -> None:
        key = f"{self.prefix}{name}-claim"
        if self.claimed(name) != token:
            return
        if note is None:
            self.cache.delete(key)
        else:
            self.cache.set(key, note, whole_seconds(ttl))

    def claimed(self, name: str) -> bytes | None:
        return _checked(self.cache.get(f"{self.prefix}{name}-claim"))

    def post(self, slot: str, data: bytes, ttl: float) -> None:
        self.cache.set(self.prefix + slot, data, whole_seconds(ttl))

    def posted(self, slot: str) -> bytes | None:
        return _checked(self.cache.get(self.prefix + slot))

    def check(self) -> list[CheckMessage]:
        if isinstance(self.cache, DummyCache):
            return [
                Warning(
                    f"LLMCACHE[{self.alias!r}] stores nothing: CACHES[{self.cache_alias!r}] is a "
                    "DummyCache.",
                    hint='Name another alias, or set LLMCACHE_CONFIG["MODE"] to "off".',
                    id="llmcache.W104",
                )
            ]
        if type(self) is not DjangoCacheBackend:
            return []
        return [
            Warning(
                f"LLMCACHE[{self.alias!r}] uses CACHES[{self.cache_alias!r}] through its own "
                "serializer.",
                hint="If that unpickles, whoever can write to the cache can run code here. Redis, "
                "files, a database, S3 and the disk store are used without pickle.",
                id="llmcache.W103",
            )
        ]


def describe(settings: BackendSettings) -> dict[str, Any]:
    """The entry of CACHES that an alias of LLMCACHE names.

    Raises:
        ImproperlyConfigured: there is none.
    """
    alias = settings.location or "default"
    known = django_settings.CACHES
    if alias not in known:
        raise ImproperlyConfigured(
            f"LLMCACHE[{settings.alias!r}]['LOCATION']: "
            f"{InvalidRequest.unknown('alias of CACHES', alias, known)}"
        )
    return dict(known[alias])


def whole_seconds(ttl: float | None) -> int | None:
    """A ttl for caches that know only whole seconds, never shorter than asked."""
    return None if ttl is None else max(1, math.ceil(ttl))


def _checked(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    raise ForeignValue(f"found {type(value).__name__} where our bytes should be")
