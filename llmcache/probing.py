"""What a store is, what it can, and whether it works just now."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from time import perf_counter, time
from typing import Final

from django.db.models import Count, Sum

from llmcache import conf, events
from llmcache.backends import stores
from llmcache.caching import for_alias
from llmcache.envelope import seal, unseal
from llmcache.exceptions import LLMCacheError
from llmcache.models import Entry

MOST_COUNTED: Final = 10_000
_NEXT_URL: Final = re.compile(r",(?=\s*[a-z0-9+]+://)")


@dataclass(frozen=True, slots=True)
class Description:
    """A store for people.

    Attributes:
        kind: the class's name; `problem` is why it cannot be used, if so.
        location: where it is, without passwords.
        abilities: names to True or False.
        entries, size: in the index, of the first 10,000; `has_more` says if there are more.
        is_resting: left alone, as it failed too often.
    """

    alias: str
    kind: str
    location: str
    timeout: float | None
    abilities: Mapping[str, bool]
    layers: tuple[str, ...]
    entries: int
    size: int
    is_resting: bool
    problem: str = ""
    has_more: bool = False


def describe(alias: str) -> Description:
    """What is known of the store of an alias of LLMCACHE."""
    settings = conf.backends()[alias]
    rows = Entry.objects.filter(alias=alias).order_by()[: MOST_COUNTED + 1]
    try:
        backend = stores[alias]
    except Exception as error:
        return Description(
            alias=alias,
            kind=settings.backend.rpartition(".")[2],
            location=without_secrets(settings.location),
            timeout=settings.timeout,
            abilities={},
            layers=(),
            entries=0,
            size=0,
            is_resting=False,
            problem=str(error),
        )
    cache = for_alias(alias)
    counted = rows.aggregate(number=Count("pk"), size=Sum("size", default=0))
    return Description(
        alias=alias,
        kind=type(backend).__name__,
        location=without_secrets(settings.location),
        timeout=settings.timeout,
        abilities={
            "shared by all processes": not backend.process_local,
            "signed": not backend.process_local,
            "exact ttl": backend.exact_ttl,
            "can be listed": backend.supports_iterate,
            "can be cleared": backend.supports_clear,
        },
        layers=tuple(layer.alias for layer in backend.layers),
        entries=min(counted["number"], MOST_COUNTED),
        size=counted["size"],
        has_more=counted["number"] > MOST_COUNTED,
        is_resting=cache is not None and cache.is_resting,
    )


def without_secrets(location: str) -> str:
    """A LOCATION without user names, passwords and queries; it may name several URLs."""
    return ", ".join(map(_stripped, _NEXT_URL.split(location)))


def _stripped(url: str) -> str:
    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        return url
    # Passwords may hold what ends a host: only what follows the last @ is none.
    place = re.split(r"[?#]", rest.rpartition("@")[2], maxsplit=1)[0]
    return f"{scheme}://{place}"


def counted() -> dict[str, int]:
    """What this process has counted of unusual events."""
    return events.counts()


def probe(alias: str) -> dict[str, float]:
    """Write, read and delete an entry of no meaning.

    Returns:
        Seconds by "write", "read" and "drop".

    Raises:
        LLMCacheError: the store gave back something else. Beside it, whatever the store raises.
    """
    backend = stores[alias]
    digest = sha256(uuid.uuid4().bytes).hexdigest()
    sign = not backend.process_local
    data = seal(digest, b"probe", created=time(), expires=time() + 60, sign=sign)
    started = perf_counter()
    backend.set(digest, data, 60.0)
    written = perf_counter()
    try:
        found = backend.get(digest)
        read = perf_counter()
        if found is None or unseal(digest, found, signed=sign).payload != b"probe":
            raise LLMCacheError("what was written was not there when it was read")
    finally:
        before = perf_counter()
        backend.delete(digest)
    return {
        "write": written - started,
        "read": read - written,
        "drop": perf_counter() - before,
    }
