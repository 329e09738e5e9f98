"""System check messages that several backends share, and the ids of all backends' messages.

    llmcache.W101   entries live in one process while DEBUG is False
    llmcache.W102   a Django cache with Django's default of 300 entries
    llmcache.W103   a Django cache whose own serializer may run code that others wrote to it
    llmcache.W104   a Django cache that stores nothing
    llmcache.W105   a setting that has no effect on this store
    llmcache.W106   a directory of entries that other users can write to
    llmcache.W112   a cluster of which one node has all entries

Settings of a backend that cannot be used at all raise ImproperlyConfigured when it is built, and
are `llmcache.E002`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Warning

from llmcache.backends.base import BaseBackend

_HASH_TAG: Final = re.compile(r"\{[^}]+\}")


def process_local(backend: BaseBackend) -> list[CheckMessage]:
    """A warning for a store in the memory of one process, unless in development."""
    if settings.DEBUG:
        return []
    return [
        Warning(
            f"LLMCACHE[{backend.alias!r}] keeps its entries in the memory of one process.",
            hint="Several workers would each pay for the same answer; use Redis, a disk or a "
            "database, or put this store above one of those with LayeredBackend.",
            id="llmcache.W101",
        )
    ]


def few_entries(
    backend: BaseBackend, cache_alias: str, description: Mapping[str, Any]
) -> list[CheckMessage]:
    """A warning when an entry of CACHES leaves Django's default for the number of entries."""
    if "MAX_ENTRIES" in {**description, **description.get("OPTIONS", {})}:
        return []
    return [
        Warning(
            f"CACHES[{cache_alias!r}] keeps no more than 300 entries, and "
            f"LLMCACHE[{backend.alias!r}] uses it.",
            hint=f"Set CACHES[{cache_alias!r}]['OPTIONS']['MAX_ENTRIES'].",
            id="llmcache.W102",
        )
    ]


def idle_timeouts(backend: BaseBackend) -> list[CheckMessage]:
    """A warning for each layer whose TIMEOUT says something else than that of the store above it,
    which is the one that counts."""
    written = getattr(settings, "LLMCACHE", {})
    return [
        Warning(
            f"LLMCACHE[{layer.alias!r}]['TIMEOUT'] has no effect on what LLMCACHE"
            f"[{backend.alias!r}] keeps in that layer.",
            hint=f"Set LLMCACHE[{backend.alias!r}]['TIMEOUT']; leave the layer's out, or silence "
            "this if calls also use the layer by itself.",
            id="llmcache.W105",
        )
        for layer in backend.layers
        if "TIMEOUT" in written.get(layer.alias, {})
        and layer.settings.timeout != backend.settings.timeout
    ]


def one_slot(backend: BaseBackend) -> list[CheckMessage]:
    """A warning for a prefix that a Redis Cluster takes for all that places a key."""
    start = backend.prefix.find("{")
    if start < 0 or not _HASH_TAG.match(backend.prefix, start):
        return []
    return [
        Warning(
            f"LLMCACHE[{backend.alias!r}] keeps all its entries on one node of its cluster.",
            hint="Its KEY_PREFIX has a hash tag in it, {...}, which alone says where a key "
            "belongs. Leave out the braces.",
            id="llmcache.W112",
        )
    ]
