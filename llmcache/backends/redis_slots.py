"""The nodes of a Redis Cluster, their URLs, and which of them has which keys: the map of slots, as
one of the nodes tells it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from redis.crc import key_slot


class Node(NamedTuple):
    """A server of a cluster, and whether it is spoken to as a replica: to read from only."""

    host: str
    port: int
    replica: bool = False

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port


Shard = tuple[Node, ...]
"""A primary and its replicas."""


class NodeUrls:
    """The URLs of a cluster's nodes, made of those of some.

    Args:
        urls: with ports that are numbers.

    Raises:
        ValueError: they are not of one cluster.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        parts = [urlsplit(url) for url in urls]
        self._first = parts[0]
        if any(one.scheme not in ("redis", "rediss") for one in parts):
            raise ValueError(
                "the nodes of a cluster have URLs that begin with redis:// or rediss://"
            )
        if len({_alike(one) for one in parts}) > 1:
            raise ValueError("the URLs of one cluster's nodes differ in host and port only")
        self.nodes = [Node(one.hostname or "localhost", one.port or 6379) for one in parts]

    def of(self, node: Node) -> str:
        """A node's."""
        account, at, _ = self._first.netloc.rpartition("@")
        host = f"[{node.host}]" if ":" in node.host else node.host
        return self._first._replace(netloc=f"{account}{at}{host}:{node.port}").geturl()


def _alike(url: SplitResult) -> tuple[str | None, ...]:
    return url.scheme, url.username, url.password, url.path.strip("/"), url.query


def slot_of(key: str) -> int:
    """The slot of a key."""
    return int(key_slot(key.encode()))


class SlotMap:
    """The shards of a cluster and their slots. It never changes: a new one takes its place.

    Args:
        ranges: first and last slot, and whose they are, in order.
        moved: slots that have gone elsewhere since.
    """

    __slots__ = ("_lasts", "_moved", "_ranges")

    def __init__(
        self, ranges: Sequence[tuple[int, int, Shard]], moved: Mapping[int, Node] | None = None
    ) -> None:
        self._ranges = ranges
        self._lasts = [last for _, last, _ in ranges]
        self._moved = moved or {}

    @classmethod
    def read(cls, reply: Any, asked: Node) -> SlotMap:
        """The map in the reply to CLUSTER SLOTS.

        Args:
            asked: who has replied: a node that doesn't know its own address leaves it out.
        """
        ranges = []
        for first, last, *nodes in reply:
            places = [(_host(node[0]) or asked.host, int(node[1])) for node in nodes]
            primary, *replicas = places
            shard = (Node(*primary), *(Node(*place, replica=True) for place in replicas))
            ranges.append((int(first), int(last), shard))
        return cls(sorted(ranges))

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def shard(self, slot: int) -> Shard | None:
        """Whose a slot is; None if nobody serves it."""
        if self._moved and (node := self._moved.get(slot)) is not None:
            return (node,)
        place = bisect_right(self._lasts, slot - 1)
        if place == len(self._ranges) or self._ranges[place][0] > slot:
            return None
        return self._ranges[place][2]

    def with_moved(self, slot: int, node: Node) -> SlotMap:
        """This map, but for one slot."""
        return SlotMap(self._ranges, {**self._moved, slot: node})

    def primaries(self) -> list[Node]:
        """All primaries that have slots."""
        nodes = [*(shard[0] for _, _, shard in self._ranges), *self._moved.values()]
        return list(dict.fromkeys(nodes))

    def addresses(self) -> set[tuple[str, int]]:
        """Of all nodes, replicas included."""
        nodes = (node for _, _, shard in self._ranges for node in shard)
        return {node.address for node in (*nodes, *self._moved.values())}


def _host(raw: Any) -> str:
    host = raw.decode() if isinstance(raw, bytes) else str(raw or "")
    return "" if host == "?" else host
