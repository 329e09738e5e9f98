"""Stores in a Redis Cluster, and digests whose keys are on a chosen node of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import count
from typing import Any

import redis.asyncio.connection
import redis.connection

from llmcache.backends.base import BaseBackend
from llmcache.backends.redis import RedisBackend
from llmcache.conf import BackendSettings
from tests.backends.stores import unique
from tests.servers.redis_cluster import Cluster, Node


def clustered(location: str, **options: Any) -> RedisBackend:
    """A store at a place of its own in a cluster."""
    return RedisBackend(
        BackendSettings(
            alias="c",
            location=location,
            key_prefix=unique(),
            options={"cluster": True, **options},
        )
    )


def digests() -> Iterator[str]:
    """Digests, one after the other."""
    return (sha256(b"%d" % number).hexdigest() for number in count())


def digest_on(cluster: Cluster, node: Node, store: RedisBackend) -> str:
    """A digest whose key is on a node."""
    return next(d for d in digests() if cluster.owner(store.make_key(d)) is node)


def counted_keys(cluster: Cluster, store: BaseBackend) -> list[int]:
    """How many keys of a store each primary has."""
    return [len(node.ask("KEYS", f"{store.prefix}*")) for node in cluster.primaries]


@contextmanager
def requests() -> Iterator[Counter[int]]:
    """How often something has been sent to each port meanwhile."""
    sent: Counter[int] = Counter()
    sync, asynchronous = (
        redis.connection.AbstractConnection,
        redis.asyncio.connection.AbstractConnection,
    )
    real, areal = sync.send_packed_command, asynchronous.send_packed_command

    def counted(self: Any, *given: Any, **more: Any) -> Any:
        sent[self.port] += 1
        return real(self, *given, **more)

    async def acounted(self: Any, *given: Any, **more: Any) -> Any:
        sent[self.port] += 1
        return await areal(self, *given, **more)

    sync.send_packed_command = counted  # type: ignore[method-assign]
    asynchronous.send_packed_command = acounted  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        sync.send_packed_command = real  # type: ignore[method-assign]
        asynchronous.send_packed_command = areal  # type: ignore[method-assign]
