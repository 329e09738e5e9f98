"""Several stores with the same entries: what one has lost, the next one may have."""

from __future__ import annotations

from collections.abc import Iterator

from llmcache.backends import stores
from llmcache.backends.base import BaseBackend
from llmcache.conf import BackendSettings
from llmcache.options import Options


class MirrorsBackend(BaseBackend):
    """Takes no LOCATION.

    OPTIONS:
        stores (list): aliases of LLMCACHE, in the order in which they are asked.
    """

    def __init__(self, settings: BackendSettings) -> None:
        super().__init__(settings)
        options = Options(settings, {"stores": ()})
        aliases = options.require("stores", bool(options["stores"]), "a list of aliases")
        self._stores: tuple[BaseBackend, ...] = tuple(stores[alias] for alias in aliases)
        self.process_local = all(store.process_local for store in self._stores)

    @property
    def layers(self) -> tuple[BaseBackend, ...]:
        return self._stores

    def get(self, digest: str) -> bytes | None:
        found = self.get_with_layer(digest)
        return None if found is None else found[0]

    def get_with_layer(self, digest: str) -> tuple[bytes, str] | None:
        for store in self._stores:
            data = store.get(digest)
            if data is not None:
                return data, store.alias
        return None

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        for store in self._stores:
            store.set(digest, data, ttl)

    def delete(self, digest: str) -> bool:
        return sum(store.delete(digest) for store in self._stores) > 0

    def touch(self, digest: str, ttl: float | None) -> bool:
        return sum(store.touch(digest, ttl) for store in self._stores) > 0

    def clear(self) -> int:
        return max(store.clear() for store in self._stores)

    def iterate(self) -> Iterator[str]:
        yield from dict.fromkeys(digest for store in self._stores for digest in store.iterate())

    def sweep(self, limit: int = 1000) -> int:
        swept = 0
        for store in self._stores:
            swept += store.sweep(limit - swept)
        return swept
