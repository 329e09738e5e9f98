"""Connections to Redis servers, for threads and for event loops.

A server that hangs costs one timeout and is never asked twice: the caller has a model to fall back
on. A connection that was cut, as by a restart, is opened once more: every operation of ours may be
done twice.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from llmcache.backends import redis_reads
from llmcache.backends.exchanges import MOST
from llmcache.backends.redis_areads import AsyncReads
from llmcache.backends.redis_loops import PerLoop
from llmcache.backends.redis_reads import Reads

_CUT: Final = (redis.ConnectionError,)
_ONE_EACH: Final = 2**31
"""Connections that threads may have: as many as there are threads."""
_SYNC_ONLY = ("parser_class", "connection_class", "retry")
_OWN_POOLS = (redis.ConnectionPool, redis.BlockingConnectionPool)


class Connections:
    """Clients of one or more servers: writes go to the first, reads to one of the others if any.

    Args:
        urls: `redis://`, `rediss://` or `unix://`; the first is the primary, the others its
            replicas.
        timeout: seconds that connecting or one exchange may take, where `options` don't say.
        options: what redis-py's `ConnectionPool.from_url` takes.
        pool_class: a subclass of `redis.ConnectionPool`.

    Attributes:
        bound: seconds that one exchange may take. Tasks keep to it themselves.
        most: how many exchanges a loop may have at a time: a pool refuses connections beyond.
        has_reads: whether single keys are read past redis-py's pool.

    Raises:
        ValueError, TypeError: a URL or an option that redis-py doesn't take.
    """

    def __init__(
        self,
        urls: Sequence[str],
        timeout: float,
        options: Mapping[str, Any],
        pool_class: type[Any] = redis.ConnectionPool,
    ) -> None:
        self._urls = tuple(urls)
        self._blocking = issubclass(pool_class, redis.BlockingConnectionPool)
        waits = {"timeout": timeout} if self._blocking else {}
        self._options = limited({**waits, **options}, timeout)
        pools = [sync_pool(pool_class, url, self._options) for url in self._urls]
        self.bound: float | None = pools[0].connection_kwargs["socket_timeout"]
        self.most: int = min(MOST, *(pool.max_connections for pool in pools))
        self._clients = [redis.Redis(connection_pool=pool) for pool in pools]
        self.primary = self._clients[0]
        self._loops = PerLoop(self._open, _close)
        self._reads: list[Reads] = []
        if redis_reads.can_be_direct(pool_class, self._options):
            self._reads = [Reads(pool) for pool in pools]
        self.has_reads = bool(self._reads)

    def get(self, key: str) -> bytes | None:
        """The value of a key, of a replica if there are any."""
        reads = self._reads
        if not reads:
            return self.replica().get(key)  # type: ignore[return-value]
        return (reads[0] if len(reads) == 1 else random.choice(reads[1:])).get(key)  # noqa: S311

    async def aget(self, key: str) -> bytes | None:
        """As `get`, on the running event loop, where there are such reads (`has_reads`)."""
        reads = (await self._loops.here()).reads
        one = reads[0] if len(reads) == 1 else random.choice(reads[1:])  # noqa: S311
        return await one.get(key)

    def replica(self) -> redis.Redis:
        """The client to read from."""
        if len(self._clients) == 1:
            return self.primary
        return random.choice(self._clients[1:])  # noqa: S311 - spreads load, guards nothing

    def primaries(self) -> list[redis.Redis]:
        """The clients of all servers that have keys of their own."""
        return [self.primary]

    async def aprimary(self) -> redis.asyncio.Redis:
        """The client to write with on the running event loop."""
        return (await self._loops.here()).clients[0]

    async def areplica(self) -> redis.asyncio.Redis:
        """The client to read from on the running event loop."""
        return (await self._loops.here()).to_read()

    async def aprimaries(self) -> list[redis.asyncio.Redis]:
        """As `primaries`, on the running event loop."""
        return [await self.aprimary()]

    def _open(self) -> _Here:
        pool_class = (
            redis.asyncio.BlockingConnectionPool if self._blocking else redis.asyncio.ConnectionPool
        )
        options = _unlimited(self._options)
        clients = [async_client(pool_class, url, options) for url in self._urls]
        reads = [AsyncReads(client.connection_pool, self.bound) for client in clients]
        return _Here(clients, reads if self._reads else [])

    def close(self) -> None:
        """Close the connections of threads; those of event loops close with their loop."""
        for reads in self._reads:
            reads.close()
        for client in self._clients:
            client.close()
            client.connection_pool.disconnect()

    async def aclose(self) -> None:
        """Close the connections of threads and of the running loop."""
        await self._loops.aclose()
        self.close()


class _Here:
    """What one event loop has of its own: a client of each server, and its reads."""

    def __init__(self, clients: list[redis.asyncio.Redis], reads: list[AsyncReads]) -> None:
        self.clients = clients
        self.reads = reads

    def to_read(self) -> redis.asyncio.Redis:
        """The client to read from."""
        clients = self.clients
        return clients[0] if len(clients) == 1 else random.choice(clients[1:])  # noqa: S311


async def _close(here: _Here) -> None:
    for reads in here.reads:
        await reads.close()
    for client in here.clients:
        await client.aclose()


def limited(options: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """Options of connections, with our time limits unless they have others."""
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "protocol": 2,
        **options,
        "decode_responses": False,
    }


def _unlimited(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of connections for tasks, each of whose exchanges has its limit around it: a timer
    for each step would come on top, and cannot tell who is late (see `deadlines`).
    """
    limit, to_connect = options["socket_timeout"], options["socket_connect_timeout"]
    connecting = None if to_connect == limit else to_connect
    return {**options, "socket_timeout": None, "socket_connect_timeout": connecting}


def _from_url(pool_class: Any, url: str, options: Mapping[str, Any]) -> Any:
    pool = pool_class.from_url(url, **options)
    pool.connection_kwargs["decode_responses"] = False  # whatever the URL says
    return pool


def sync_pool(pool_class: type[Any], url: str, options: Mapping[str, Any]) -> Any:
    """A pool of connections for threads.

    Raises:
        ValueError, TypeError: a URL or an option that redis-py doesn't take.
    """
    try:
        _ = urlsplit(url).port
    except ValueError:
        # The error would quote what it took for the port: with a "/" in it, a password's beginning.
        raise ValueError(
            "a URL's port is no number; in a password, / is written %2F and @ is written %40"
        ) from None
    own: dict[str, Any] = {"retry": Retry(NoBackoff(), 1, _CUT)}
    if pool_class is redis.ConnectionPool:  # its 100 are an error for one thread more
        own["max_connections"] = _ONE_EACH
    pool = _from_url(pool_class, url, {**own, **options})
    if pool_class in _OWN_POOLS:
        try:
            pool.connection_class(**pool.connection_kwargs)  # connects later, but refuses now
        except redis.RedisError as error:
            raise ValueError(str(error)) from error
    return pool


def async_client(
    pool_class: type[Any], url: str, options: Mapping[str, Any]
) -> redis.asyncio.Redis:
    """A client for the running event loop."""
    own = {key: value for key, value in options.items() if key not in _SYNC_ONLY}
    retry = AsyncRetry(NoBackoff(), 1, _CUT)
    return redis.asyncio.Redis.from_pool(_from_url(pool_class, url, {"retry": retry, **own}))
