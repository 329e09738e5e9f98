"""Async methods for stores that never wait: they call the sync ones straight, without a thread."""

from __future__ import annotations

from collections.abc import Iterable

from llmcache.backends.base import BaseBackend, Item


class DirectAsync(BaseBackend):
    """Put before BaseBackend in a class whose sync methods only touch this process's memory."""

    async def aget(self, digest: str) -> bytes | None:
        return self.get(digest)

    async def aget_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        return self.get_many(digests)

    async def aset(self, digest: str, data: bytes, ttl: float | None) -> None:
        self.set(digest, data, ttl)

    async def aset_many(self, items: Iterable[Item]) -> None:
        self.set_many(items)

    async def adelete(self, digest: str) -> bool:
        return self.delete(digest)

    async def adelete_many(self, digests: Iterable[str]) -> int:
        return self.delete_many(digests)

    async def atouch(self, digest: str, ttl: float | None) -> bool:
        return self.touch(digest, ttl)

    async def aclear(self) -> int:
        return self.clear()

    async def aclose(self) -> None:
        self.close()
