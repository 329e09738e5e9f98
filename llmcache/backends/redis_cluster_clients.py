"""What the stores in Redis use of a client, spread over the nodes of a cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, Self

from llmcache import counting
from llmcache.backends.redis_routing import Command, NodeResting, Words
from llmcache.backends.redis_slots import slot_of
from llmcache.backends.redis_wire import good

logger = logging.getLogger("llmcache")


class Cluster(Protocol):
    """The nodes, as `redis_cluster` connects to them."""

    def send(self, commands: Sequence[Command], *, reading: bool = False) -> list[Any]:
        """The replies to commands, in order; an error in the place of one that there isn't."""

    async def asend(self, commands: Sequence[Command], *, reading: bool = False) -> list[Any]:
        """As `send`."""


def routed(words: Words) -> Command:
    """A command with the slot of its key, which all that are used here have just one of."""
    key = words[3] if words[0] == "EVAL" else words[1]
    return Command(slot_of(key), words)


def _gets(keys: Iterable[str]) -> list[Command]:
    return [routed(("GET", key)) for key in keys]


def _unlinks(keys: Iterable[str]) -> list[Command]:
    # One key each: a command about several slots is refused even where one node has them all.
    return [routed(("UNLINK", key)) for key in keys]


def _found(replies: Sequence[Any]) -> list[bytes | None]:
    """The values that were read. What a node has that is left alone is not there for the while; one
    that fails takes nothing from what the others have.

    Raises:
        RedisError, OSError: no node has answered.
    """
    rested = sum(isinstance(reply, NodeResting) for reply in replies)
    if rested:
        counting.count("node_skipped", rested)
    errors = [r for r in replies if isinstance(r, Exception) and not isinstance(r, NodeResting)]
    if errors:
        if len(errors) + rested == len(replies):
            raise errors[0]
        counting.count("read_error", len(errors))
        logger.warning(
            "%d of %d entries could not be read: %s: %s",
            *(len(errors), len(replies), type(errors[0]).__name__, errors[0]),
        )
    return [None if isinstance(reply, Exception) else reply for reply in replies]


class _Verbs:
    """Commands about one key, in the words of redis-py."""

    def execute_command(self, *words: Any) -> Any:
        """Send a command, or keep it to be sent with others."""
        raise NotImplementedError

    def get(self, key: str) -> Any:
        return self.execute_command("GET", key)

    def set(self, key: str, data: bytes, *, px: int | None = None) -> Any:
        return self.execute_command("SET", key, data, *(() if px is None else ("PX", px)))

    def pexpire(self, key: str, px: int) -> Any:
        return self.execute_command("PEXPIRE", key, px)

    def persist(self, key: str) -> Any:
        return self.execute_command("PERSIST", key)

    def exists(self, key: str) -> Any:
        return self.execute_command("EXISTS", key)

    def eval(self, script: str, number: int, key: str, *arguments: Any) -> Any:
        return self.execute_command("EVAL", script, number, key, *arguments)


class ClusterClient(_Verbs):
    """Sends each command to the node that has its key.

    Args:
        reading: whether replicas will do, where something is read.
    """

    def __init__(self, connections: Cluster, *, reading: bool = False) -> None:
        self._connections = connections
        self._reading = reading

    def execute_command(self, *words: Any) -> Any:
        return good(self._connections.send([routed(words)]))[0]

    def get(self, key: str) -> bytes | None:
        return self.mget([key])[0]

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        return _found(self._connections.send(_gets(keys), reading=self._reading))

    def unlink(self, *keys: str) -> int:
        return sum(good(self._connections.send(_unlinks(keys))))

    def pipeline(self, *, transaction: bool) -> _Pipeline:
        return _Pipeline(self._connections)


class _Pipeline(_Verbs):
    def __init__(self, connections: Cluster) -> None:
        self._connections = connections
        self._commands: list[Command] = []

    def execute_command(self, *words: Any) -> Any:
        self._commands.append(routed(words))

    def execute(self) -> Sequence[Any]:
        return good(self._connections.send(self._commands))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *given: object) -> None:
        return None


class AsyncClusterClient(_Verbs):
    """As `ClusterClient`, on any event loop."""

    def __init__(self, connections: Cluster, *, reading: bool = False) -> None:
        self._connections = connections
        self._reading = reading

    async def execute_command(self, *words: Any) -> Any:
        return good(await self._connections.asend([routed(words)]))[0]

    async def get(self, key: str) -> bytes | None:
        return (await self.mget([key]))[0]

    async def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        return _found(await self._connections.asend(_gets(keys), reading=self._reading))

    async def unlink(self, *keys: str) -> int:
        return sum(good(await self._connections.asend(_unlinks(keys))))

    def pipeline(self, *, transaction: bool) -> _AsyncPipeline:
        return _AsyncPipeline(self._connections)


class _AsyncPipeline(_Verbs):
    def __init__(self, connections: Cluster) -> None:
        self._connections = connections
        self._commands: list[Command] = []

    def execute_command(self, *words: Any) -> Any:
        self._commands.append(routed(words))

    async def execute(self) -> Sequence[Any]:
        return good(await self._connections.asend(self._commands))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *given: object) -> None:
        return None
