"""System check messages that several backends share, and the ids of all backends' messages.

    llmcache.E101   no such alias in CACHES
    llmcache.W101   entries live in one process while DEBUG is False
    llmcache.W102   LocMemCache with Django's default of 300 entries
    llmcache.W103   a Django cache whose own serializer may run code that others wrote to it
    llmcache.W104   a Django cache that stores nothing
    llmcache.W105   a setting that has no effect on this store
    llmcache.W106   a directory that other users can write to

Settings of a backend that cannot be used at all raise ImproperlyConfigured when it is built, and
are `llmcache.E002`.
"""

from __future__ import annotations

from django.conf import settings
from django.core.checks import CheckMessage, Warning

from llmcache.backends.base import BaseBackend


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
