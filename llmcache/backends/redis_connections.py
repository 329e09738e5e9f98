"""Connections to Redis servers, for threads and for event loops. The only room that imports redis.

A server that hangs costs one timeout and is never asked twice: the caller has a model to fall back
on. A connection that was cut, as by a restart, is opened once more: every operation of ours may be
done twice.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from llmcache.backends.exchanges import MOST

_CUT: Final = (redis.ConnectionError,)
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
        fails_as_one: whether a command about several keys fails for all if it does for one.

    Raises:
        ValueError, TypeError: a URL or an option that redis-py doesn't take.
    """

    fails_as_one: Final = True

    def __init__(
        self,
        urls: Sequence[str],
        timeout: float,
        options: Mapping[str, Any],
        pool_class: type[Any] = redis.ConnectionPool,
    ) -> None:
        self._urls = tuple(urls)
        self._blocking = issubclass(pool_class, redis.BlockingConnectionPool)
        self._options = {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "protocol": 2,
            **({"timeout": timeout} if self._blocking else {}),
            **options,
            "decode_responses": False,
        }
        sync_options = {"retry": Retry(NoBackoff(), 1, _CUT), **self._options}
        pools = [_pool(pool_class, url, sync_options) for url in self._urls]
        self.bound: float | None = pools[0].connection_kwargs["socket_timeout"]
        self.most: int = min(MOST, *(pool.max_connections for pool in pools))
        self._clients = [redis.Redis(connection_pool=pool) for pool in pools]
        self.primary = self._clients[0]
        self._loops: dict[asyncio.AbstractEventLoop, _LoopClients] = {}

    def replica(self) -> redis.Redis:
        """The client to read from."""
        if len(self._clients) == 1:
            return self.primary
        return random.choice(self._clients[1:])  # noqa: S311 - spreads load, guards nothing

    async def aprimary(self) -> redis.asyncio.Redis:
        """The client to write with on the running event loop."""
        return (await self._here()).clients[0]

    async def areplica(self) -> redis.asyncio.Redis:
        """The client to read from on the running event loop."""
        clients = (await self._here()).clients
        return clients[0] if len(clients) == 1 else random.choice(clients[1:])  # noqa: S311

    async def _here(self) -> _LoopClients:
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        return found if found is not None else await self._open(loop)

    async def _open(self, loop: asyncio.AbstractEventLoop) -> _LoopClients:
        for other in list(self._loops):
            if other.is_closed():
                self._loops.pop(other, None)
        options = {key: value for key, value in self._options.items() if key not in _SYNC_ONLY}
        options["socket_timeout"] = None  # `bound` holds: a timer for each step would come on top
        pool_class = (
            redis.asyncio.BlockingConnectionPool if self._blocking else redis.asyncio.ConnectionPool
        )
        clients = [
            redis.asyncio.Redis.from_pool(
                _from_url(pool_class, url, {"retry": AsyncRetry(NoBackoff(), 1, _CUT), **options})
            )
            for url in self._urls
        ]
        # A loop finishes its asynchronous generators before it closes: the last moment at which its
        # connections can be closed in good order. Short-lived loops (async_to_sync) need that.
        keeper = self._until_loop_ends(loop, clients)
        self._loops[loop] = opened = _LoopClients(clients, keeper)
        await anext(keeper)
        return opened

    async def _until_loop_ends(
        self, loop: asyncio.AbstractEventLoop, clients: list[redis.asyncio.Redis]
    ) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self._loops.pop(loop, None)
            for client in clients:
                await client.aclose()

    def close(self) -> None:
        """Close the connections of threads; those of event loops close with their loop."""
        for client in self._clients:
            client.close()
            client.connection_pool.disconnect()

    async def aclose(self) -> None:
        """Close the connections of threads and of the running loop."""
        found = self._loops.get(asyncio.get_running_loop())
        if found is not None:
            await found.keeper.aclose()
        self.close()


class _LoopClients:
    """The clients of one event loop, and the generator that closes them when the loop ends."""

    __slots__ = ("clients", "keeper")

    def __init__(self, clients: list[redis.asyncio.Redis], keeper: Any) -> None:
        self.clients = clients
        self.keeper = keeper


def _from_url(pool_class: Any, url: str, options: Mapping[str, Any]) -> Any:
    pool = pool_class.from_url(url, **options)
    pool.connection_kwargs["decode_responses"] = False  # whatever the URL says
    return pool


def _pool(pool_class: type[Any], url: str, options: Mapping[str, Any]) -> Any:
    try:
        _ = urlsplit(url).port
    except ValueError:
        # The error would quote what it took for the port: with a "/" in it, a password's beginning.
        raise ValueError(
            "a URL's port is no number; in a password, / is written %2F and @ is written %40"
        ) from None
    pool = _from_url(pool_class, url, options)
    if pool_class in _OWN_POOLS:
        try:
            pool.connection_class(**pool.connection_kwargs)  # connects later, but refuses now
        except redis.RedisError as error:
            raise ValueError(str(error)) from error
    return pool
