"""Connections to a Redis Cluster, for threads and for event loops, with what `Connections` offers
for a single server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Final, TypeVar

import redis
import redis.asyncio

from llmcache.backends import redis_connections
from llmcache.backends.exchanges import MOST
from llmcache.backends.redis_cluster_clients import AsyncClusterClient, ClusterClient
from llmcache.backends.redis_loops import PerLoop
from llmcache.backends.redis_routing import (
    Answer,
    Answers,
    Command,
    NotAsked,
    Router,
    Sent,
    Steps,
    Words,
)
from llmcache.backends.redis_slots import Node, NodeUrls

T = TypeVar("T")
AsyncClients = dict[Node, redis.asyncio.Redis]

_POOL: Final = redis.ConnectionPool


class ClusterConnections:
    """Clients of the nodes of one cluster, which are opened as they are met.

    Args:
        alias: of the store, for the log.
        urls: of some nodes, which differ in host and port only.
        timeout, options: as of `Connections`.
        read_from_replicas: whether reads go to replicas, where a shard has any.

    Attributes:
        primary: reads and writes where the keys are.
        bound: seconds that a call may take: as long again as one exchange, for a look at the map.
        most, has_reads: as of `Connections`.

    Raises:
        ValueError, TypeError: a URL or an option that redis-py doesn't take, or that no cluster
            has.
    """

    has_reads: Final = False
    most: Final = MOST

    def __init__(
        self,
        alias: str,
        urls: Sequence[str],
        timeout: float,
        options: Mapping[str, Any],
        *,
        read_from_replicas: bool = False,
    ) -> None:
        self._options = redis_connections.limited(options, timeout)
        pools = [redis_connections.sync_pool(_POOL, url, self._options) for url in urls]
        self._urls = NodeUrls(urls)
        if database := pools[0].connection_kwargs.get("db"):
            raise ValueError(
                f"a cluster has database 0 only, not {database}; keep aliases apart by KEY_PREFIX"
            )
        self._timeout: float | None = pools[0].connection_kwargs["socket_timeout"]
        self.bound = None if self._timeout is None else 2 * self._timeout
        self._router = Router(alias, self._urls.nodes)
        self._clients: dict[Node, redis.Redis] = {}
        self._loops: PerLoop[AsyncClients] = PerLoop(dict, _close)
        self.primary, self._aprimary = ClusterClient(self), AsyncClusterClient(self)
        self._replica = ClusterClient(self, reading=read_from_replicas)
        self._areplica = AsyncClusterClient(self, reading=read_from_replicas)

    def replica(self) -> ClusterClient:
        """The client to read from."""
        return self._replica

    async def aprimary(self) -> AsyncClusterClient:
        """The client to write with, on any event loop."""
        return self._aprimary

    async def areplica(self) -> AsyncClusterClient:
        """The client to read from, on any event loop."""
        return self._areplica

    def get(self, key: str) -> bytes | None:
        """The value of a key, of a replica if those may be read."""
        return self._replica.get(key)

    # --- sync ---

    def primaries(self) -> list[redis.Redis]:
        """Clients of all nodes that have keys of their own."""
        return [self._client(node) for node in self._run(self._router.primaries())]

    def send(self, commands: Sequence[Command], *, reading: bool = False) -> list[Any]:
        """The replies to commands, in order; an error in the place of one that there isn't."""
        return self._run(self._router.route(commands, reading=reading))

    def _run(self, steps: Steps[T]) -> T:
        answers: Any = None
        try:
            while True:
                answers = self._exchange(steps.send(answers))
        except StopIteration as done:
            result: T = done.value
            return result

    def _exchange(self, sent: Sent) -> Answers:
        if len(sent) > 1:
            return self._exchange_many(sent)
        ((node, commands),) = sent.items()
        try:
            return {node: _ask(self._client(node), commands)}
        except (redis.RedisError, OSError) as error:
            return {node: error}

    def _exchange_many(self, sent: Sent) -> Answers:
        """Send to all nodes before the first one's replies are read. One that cannot be reached in
        time takes none of the others'; after two of them there is no more.
        """
        late = False
        end = None if self._timeout is None else monotonic() + self._timeout
        answers: dict[Node, Answer] = {}
        opened: dict[Node, tuple[redis.Redis, Any]] = {}
        try:
            for node, commands in sent.items():
                try:
                    if end is not None and monotonic() > end:
                        raise NotAsked(f"{node.host}:{node.port} was not asked for want of time")
                    client = self._client(node)
                    connection = _taken(client.connection_pool)
                    opened[node] = client, connection
                    connection.send_packed_command(connection.pack_commands(commands))
                except (redis.RedisError, OSError) as error:
                    answers[node] = error
                    if end is not None and not late and monotonic() > end:
                        late, end = True, monotonic() + (self._timeout or 0.0)
            for node, (client, connection) in opened.items():
                if node in answers:
                    continue
                left = None if end is None else max(0.0, end - monotonic())
                try:
                    answers[node] = _read(client, connection, sent[node], left)
                except (redis.RedisError, OSError) as error:
                    answers[node] = error
        finally:
            for node, (client, connection) in opened.items():
                if not isinstance(answers.get(node), list):
                    connection.disconnect()  # what it may still say answers nobody's next question
                client.connection_pool.release(connection)
        return answers

    def _client(self, node: Node) -> redis.Redis:
        return self._clients.get(node) or self._open(node)

    def _open(self, node: Node) -> redis.Redis:
        for other in list(self._clients):
            if not self._router.knows(other) and (gone := self._clients.pop(other, None)):
                gone.connection_pool.disconnect(inuse_connections=False)
        options = {**self._options, **({"redis_connect_func": _as_reader} if node.replica else {})}
        pool = redis_connections.sync_pool(_POOL, self._urls.of(node), options)
        return self._clients.setdefault(node, redis.Redis(connection_pool=pool))

    def close(self) -> None:
        """Close the connections of threads; those of event loops close with their loop."""
        for client in list(self._clients.values()):
            client.close()
            client.connection_pool.disconnect()

    # --- async ---

    async def aprimaries(self) -> list[redis.asyncio.Redis]:
        """As `primaries`, on the running event loop."""
        nodes = await self._arun(self._router.primaries())
        clients = await self._loops.here()
        return [await self._aclient(clients, node) for node in nodes]

    async def asend(self, commands: Sequence[Command], *, reading: bool = False) -> list[Any]:
        """As `send`."""
        return await self._arun(self._router.route(commands, reading=reading))

    async def _arun(self, steps: Steps[T]) -> T:
        answers: Any = None
        try:
            while True:
                answers = await self._aexchange(steps.send(answers))
        except StopIteration as done:
            result: T = done.value
            return result

    async def _aexchange(self, sent: Sent) -> Answers:
        clients = await self._loops.here()
        here = [await self._aclient(clients, node) for node in sent]
        if len(sent) == 1:
            ((node, commands),) = sent.items()
            return {node: await _aask(here[0], commands)}
        asked = (_aask(client, sent[node]) for client, node in zip(here, sent, strict=True))
        return dict(zip(sent, await asyncio.gather(*asked), strict=True))

    async def _aclient(self, clients: AsyncClients, node: Node) -> redis.asyncio.Redis:
        found = clients.get(node)
        if found is None:
            gone = [other for other in clients if not self._router.knows(other)]
            options = {
                **self._options,
                **({"redis_connect_func": _as_async_reader} if node.replica else {}),
            }
            found = clients[node] = redis_connections.async_client(
                redis.asyncio.ConnectionPool, self._urls.of(node), options
            )
            await _close({other: clients.pop(other) for other in gone})
        return found

    async def aclose(self) -> None:
        """Close the connections of threads and of the running loop."""
        await self._loops.aclose()
        self.close()


async def _close(clients: AsyncClients) -> None:
    for client in list(clients.values()):
        await client.aclose()


def _ask(client: Any, commands: Sequence[Words]) -> list[Any]:
    if len(commands) == 1:
        try:
            return [client.execute_command(*commands[0])]
        except redis.ResponseError as error:
            return [error]
    with client.pipeline(transaction=False) as pipeline:
        for words in commands:
            pipeline.execute_command(*words)
        replies: list[Any] = pipeline.execute(raise_on_error=False)
        return replies


async def _aask(client: Any, commands: Sequence[Words]) -> Answer:
    try:
        if len(commands) == 1:
            try:
                return [await client.execute_command(*commands[0])]
            except redis.ResponseError as error:
                return [error]
        async with client.pipeline(transaction=False) as pipeline:
            for words in commands:
                pipeline.execute_command(*words)
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
            return replies
    except (redis.RedisError, OSError) as error:
        return error


def _taken(pool: Any) -> Any:
    try:
        return pool.get_connection()
    except TypeError:  # redis-py before 5.3 wants a word, and makes nothing of it
        return pool.get_connection("")


def _read(client: Any, connection: Any, commands: Sequence[Words], left: float | None) -> list[Any]:
    if left is not None and not connection.can_read(timeout=left):
        raise redis.TimeoutError("a node did not answer in time")
    replies: list[Any] = []
    for words in commands:
        try:
            replies.append(client.parse_response(connection, words[0]))
        except redis.ResponseError as error:
            replies.append(error)
    return replies


def _as_reader(connection: Any) -> None:
    """Let a replica answer about its primary's keys."""
    connection.on_connect()
    connection.send_command("READONLY")
    connection.read_response()


async def _as_async_reader(connection: Any) -> None:
    await connection.on_connect()
    await connection.send_command("READONLY")
    await connection.read_response()
