"""The stores, one instance per alias and process: `stores["default"]`."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from django.core.signals import setting_changed

from llmcache import conf
from llmcache.backends.base import BaseBackend
from llmcache.exceptions import InvalidRequest


def build(settings: conf.BackendSettings) -> BaseBackend:
    """Make the backend that the settings of one alias describe.

    Raises:
        ImproperlyConfigured: the class cannot be imported or refuses its settings.
    """
    name = f"LLMCACHE[{settings.alias!r}]['BACKEND']"
    return conf.class_at(name, settings.backend, BaseBackend)(settings)


class BackendHandler:
    """Aliases to backends. Unlike Django's CACHES, threads share one instance: ours are
    thread-safe.
    """

    def __init__(self) -> None:
        self._backends: dict[str, BaseBackend] = {}
        self._lock = threading.RLock()

    def __getitem__(self, alias: str) -> BaseBackend:
        try:
            return self._backends[alias]
        except KeyError:
            return self._create(alias)

    def __iter__(self) -> Iterator[str]:
        return iter(conf.backends())

    def _create(self, alias: str) -> BaseBackend:
        with self._lock:
            if alias not in self._backends:
                known = conf.backends()
                if alias not in known:
                    raise InvalidRequest.unknown("alias of LLMCACHE", alias, known)
                self._backends[alias] = build(known[alias])
            return self._backends[alias]

    def reset(self, *, setting: str, **kwargs: object) -> None:
        """Close and forget all backends when a test overrides what they were made from."""
        if setting not in ("LLMCACHE", "LLMCACHE_CONFIG", "CACHES"):
            return
        with self._lock:
            old = list(self._backends.values())
            self._backends.clear()
        for backend in old:
            backend.close()


stores = BackendHandler()
setting_changed.connect(stores.reset, dispatch_uid="llmcache.backends.reset")
