"""Entries in Redis: raw bytes under plain string keys, their ttl in milliseconds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, Final

from llmcache.backends.base import BaseBackend, Item
from llmcache.backends.keyspace import Keyspace
from llmcache.backends.redis_claims import RedisClaims
from llmcache.backends.redis_wire import BATCH, batches, milliseconds

_REPLACE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""
_GLOB: Final = re.compile(r"([*?\[\]^\\])")


class RedisCommands(RedisClaims, BaseBackend):
    """What the stores in Redis have in common; a subclass sets `connections`."""

    def keyspace(self) -> Keyspace:
        """Where this alias's keys are."""
        return Keyspace(self.prefix)

    def _pattern(self, space: Keyspace) -> str:
        head, tail = (_GLOB.sub(r"\\\1", part) for part in space)
        return f"{head}*{tail}"

    # --- sync ---

    def get(self, digest: str) -> bytes | None:
        return self.connections.get(self.make_key(digest))

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        names = list(digests)
        found: dict[str, bytes] = {}
        for batch in batches(names):
            values: Any = self.connections.replica().mget([self.make_key(name) for name in batch])
            found.update(_present(batch, values))
        return found

    def present(self, digests: Iterable[str]) -> dict[str, bytes]:
        names = list(digests)
        primary: Any = self.connections.primary  # a replica may not have heard of the newest
        found: dict[str, bytes] = {}
        for batch in batches(names):
            with primary.pipeline(transaction=False) as pipeline:
                for name in batch:
                    pipeline.get(self.make_key(name))
                found.update(_present(batch, pipeline.execute()))
        return found

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        self.connections.primary.set(self.make_key(digest), data, px=milliseconds(ttl))

    def set_many(self, items: Iterable[Item]) -> None:
        items = list(items)
        if len(items) == 1:
            self.set(*items[0])
            return
        with self.connections.primary.pipeline(transaction=False) as pipeline:
            for digest, data, ttl in items:
                pipeline.set(self.make_key(digest), data, px=milliseconds(ttl))
            pipeline.execute()

    def delete(self, digest: str) -> bool:
        return bool(self.connections.primary.unlink(self.make_key(digest)))

    def delete_many(self, digests: Iterable[str]) -> int:
        return self._unlink([self.make_key(digest) for digest in digests])

    def _unlink(self, keys: list[str]) -> int:
        primary: Any = self.connections.primary
        return sum(primary.unlink(*batch) for batch in batches(keys))

    def touch(self, digest: str, ttl: float | None) -> bool:
        primary = self.connections.primary
        key, px = self.make_key(digest), milliseconds(ttl)
        if px is not None:
            return bool(primary.pexpire(key, px))
        # PERSIST answers 0 for a key that exists but has no ttl.
        with primary.pipeline(transaction=False) as pipeline:
            pipeline.persist(key)
            pipeline.exists(key)
            return bool(pipeline.execute()[1])

    def replace(self, digest: str, old: bytes, data: bytes, ttl: float | None) -> bool:
        primary: Any = self.connections.primary
        px = milliseconds(ttl)
        key = self.make_key(digest)
        return bool(primary.eval(_REPLACE, 1, key, old, data, "" if px is None else px))

    def clear(self) -> int:
        space = self.keyspace()
        return sum(self._unlink(keys) for keys in self._own_keys(space))

    def _own_keys(self, space: Keyspace) -> Iterator[list[str]]:
        pattern = self._pattern(space)
        primaries: Sequence[Any] = self.connections.primaries()
        for primary in primaries:
            cursor = None
            while cursor != 0:
                cursor, raw = primary.scan(cursor or 0, match=pattern, count=BATCH)
                yield _own(space, raw)

    def iterate(self) -> Iterator[str]:
        """The digests of the entries. Redis may repeat one while its table grows."""
        space = self.keyspace()
        for keys in self._own_keys(space):
            for key in keys:
                digest = space.digest(key)
                if digest is not None:
                    yield digest

    def close(self) -> None:
        self.connections.close()

    # --- async ---

    async def aget(self, digest: str) -> bytes | None:
        key = self.make_key(digest)
        connections: Any = self.connections
        data: bytes | None
        if connections.has_reads:
            data = await connections.aget(key)
            return data
        async with self._exchanges.one():
            data = await (await connections.areplica()).get(key)
            return data

    async def aget_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        names = list(digests)
        found: dict[str, bytes] = {}
        for batch in batches(names):
            async with self._exchanges.one():
                client: Any = await self.connections.areplica()
                values = await client.mget([self.make_key(name) for name in batch])
            found.update(_present(batch, values))
        return found

    async def aset(self, digest: str, data: bytes, ttl: float | None) -> None:
        async with self._exchanges.one():
            client: Any = await self.connections.aprimary()
            await client.set(self.make_key(digest), data, px=milliseconds(ttl))

    async def aset_many(self, items: Iterable[Item]) -> None:
        items = list(items)
        if len(items) == 1:
            await self.aset(*items[0])
            return
        async with self._exchanges.one():
            client: Any = await self.connections.aprimary()
            async with client.pipeline(transaction=False) as pipeline:
                for digest, data, ttl in items:
                    pipeline.set(self.make_key(digest), data, px=milliseconds(ttl))
                await pipeline.execute()

    async def adelete(self, digest: str) -> bool:
        async with self._exchanges.one():
            client: Any = await self.connections.aprimary()
            return bool(await client.unlink(self.make_key(digest)))

    async def adelete_many(self, digests: Iterable[str]) -> int:
        return await self._aunlink([self.make_key(digest) for digest in digests])

    async def _aunlink(self, keys: list[str]) -> int:
        removed = 0
        for batch in batches(keys):
            async with self._exchanges.one():
                client: Any = await self.connections.aprimary()
                removed += await client.unlink(*batch)
        return removed

    async def atouch(self, digest: str, ttl: float | None) -> bool:
        key, px = self.make_key(digest), milliseconds(ttl)
        async with self._exchanges.one():
            client: Any = await self.connections.aprimary()
            if px is not None:
                return bool(await client.pexpire(key, px))
            async with client.pipeline(transaction=False) as pipeline:
                pipeline.persist(key)
                pipeline.exists(key)
                return bool((await pipeline.execute())[1])

    async def aclear(self) -> int:
        space, removed = self.keyspace(), 0
        async for keys in self._aown_keys(space):
            removed += await self._aunlink(keys)
        return removed

    async def _aown_keys(self, space: Keyspace) -> AsyncIterator[list[str]]:
        pattern = self._pattern(space)
        async with asyncio.timeout(self.connections.bound):
            primaries: Sequence[Any] = await self.connections.aprimaries()
        for primary in primaries:
            cursor = None
            while cursor != 0:
                async with asyncio.timeout(self.connections.bound):
                    cursor, raw = await primary.scan(cursor or 0, match=pattern, count=BATCH)
                yield _own(space, raw)

    async def aclose(self) -> None:
        await self.connections.aclose()


def _present(names: list[str], values: list[bytes | None]) -> dict[str, bytes]:
    return {name: data for name, data in zip(names, values, strict=True) if data is not None}


def _own(space: Keyspace, raw: Iterable[bytes]) -> list[str]:
    keys = (key.decode("utf-8", "surrogateescape") for key in raw)
    return [key for key in keys if space.digest(key) is not None]
