"""A backend with all that a call needs to use it: defaults, breaker, custom functions.

One per alias and process, and one per `Cache(type=...)` that a program makes itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet

from llmcache import backends, conf
from llmcache.backends.base import BaseBackend
from llmcache.backends.batched import BatchedBackend
from llmcache.backends.semantic.base import SemanticBackend
from llmcache.breaker import Breaker
from llmcache.calls import CALL_TYPES
from llmcache.exceptions import InvalidRequest

OWN_WAYS: Final = frozenset({"get_cache", "async_get_cache", "add_cache", "async_add_cache"})
"""The custom functions that read or write in the store's place."""


class Store:
    """What the engine works with.

    Attributes:
        backend: where the bytes are; `alias` names it.
        ttl: default seconds to live; None for no end.
        layered: the backend, if it has layers.
        namespace: default namespace of the keys; None for none.
        supported_call_types: other call types bypass the cache.
        opt_in: True when only calls with `cache={"use-cache": True}` are cached.
        semantic: the part of the backend that is searched by meaning, if there is one.
        claims: the backend in which processes agree who makes an answer, if there is one.
        custom: functions of the user's that replace the key, the read or the write, by name.
        breaker: of reads. write_breaker: of writes and claims: a store that is full, or whose
            primary is away, still answers.
    """

    def __init__(
        self,
        backend: BaseBackend,
        *,
        ttl: float | None = None,
        namespace: str | None = None,
        supported_call_types: list[str] | None = None,
        opt_in: bool = False,
    ) -> None:
        for name in supported_call_types or ():
            if name not in CALL_TYPES:
                raise InvalidRequest.unknown("call type", name, CALL_TYPES)
        self.custom: dict[str, Callable[..., Any]] = {}
        self.backend = backend
        self.alias = backend.alias
        self.version = backend.settings.version
        self.signed = not backend.process_local
        self.ttl = ttl
        self.namespace = namespace
        self.supported_call_types = frozenset(
            CALL_TYPES if supported_call_types is None else supported_call_types
        )
        self.opt_in = opt_in
        self.breaker = Breaker(opens=not backend.has_own_breakers)
        self.write_breaker = Breaker()
        self.layered = backend if backend.layers else None
        self.semantic = semantic_part(backend)
        self.claims = claims_part(backend)
        with _lock:
            _living.add(self)

    @property
    def is_resting(self) -> bool:
        """Whether it failed so often that it is left alone, or written to no more, for a while."""
        return self.breaker.is_open or self.write_breaker.is_open

    @property
    def compress_min_bytes(self) -> int:
        """From which payload size on to compress; 0 for never (in-process entries stay as they
        are).
        """
        return conf.config().compress_min_bytes if self.signed else 0


def semantic_part(backend: BaseBackend) -> SemanticBackend | None:
    """The backend, or the first one inside it, that is searched by meaning."""
    if isinstance(backend, SemanticBackend):
        return backend
    inner = (backend.inner,) if isinstance(backend, BatchedBackend) else backend.layers
    return next((part for layer in inner if (part := semantic_part(layer))), None)


def claims_part(backend: BaseBackend) -> BaseBackend | None:
    """The backend, or the first one inside it, over which processes can agree. What collects its
    writes has none: an answer would not be there when its claim ends."""
    if backend.supports_claims:
        return backend
    return next((part for layer in backend.layers if (part := claims_part(layer))), None)


def names_of(backend: BaseBackend) -> set[str]:
    """The aliases under which a store's entries may be evicted: its own and those of its layers."""
    names = {backend.alias}
    for layer in backend.layers:
        names |= names_of(layer)
    return names


_living: WeakSet[Store] = WeakSet()
_lock = threading.Lock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def living() -> list[Store]:
    """The stores that this process uses just now, those included that a program made itself."""
    with _lock:
        return list(_living)


def backend_of(alias: str) -> BaseBackend | None:
    """The backend of an alias: of the settings, or of a cache that the program made itself.

    None when this process knows none of that name.
    """
    if alias in conf.backends():
        return backends.stores[alias]
    return next((store.backend for store in living() if store.alias == alias), None)
