"""What each store can, from its class."""

from __future__ import annotations

from typing import Final

from django.utils.module_loading import import_string

from docs.autoreference.markdown import table
from llmcache.backends.base import BaseBackend

_STORES: Final = {
    "memory": "llmcache.backends.memory.MemoryBackend",
    "Django: LocMemCache": "llmcache.backends.django_locmem.LocMemBackend",
    "Django: FileBasedCache": "llmcache.backends.django_file.FileBackend",
    "Django: DatabaseCache": "llmcache.backends.django_database.DatabaseBackend",
    "Django: RedisCache, django-redis": "llmcache.backends.django_redis.DjangoRedisBackend",
    "Django: any other": "llmcache.backends.django.DjangoCacheBackend",
    "Redis": "llmcache.backends.redis.RedisBackend",
    "disk": "llmcache.backends.disk.DiskBackend",
    "S3": "llmcache.backends.s3.S3Backend",
}


def listed() -> str:
    """A row for each store: who sees its entries, and what it can."""
    return table(
        ("store", "entries live in", "lists them", "clears its own", "claims", "ttl"),
        (_row(name, import_string(path)) for name, path in _STORES.items()),
    )


def _row(name: str, store: type[BaseBackend]) -> tuple[str, ...]:
    flags = (store.supports_iterate, store.supports_clear, store.supports_claims)
    return (
        name,
        "one process" if store.process_local else "a place that processes share",
        *("yes" if flag else "no" for flag in flags),
        "to the fraction" if store.exact_ttl else "in whole seconds",
    )
