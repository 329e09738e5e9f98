"""What is asked of Redis for each operation, step by step. The store's sync and async methods run
the same steps and only differ in how they send.

A step is a list of commands, answered by a list of replies in which an error reply is an exception;
or the dimension of an index to make. What a generator returns is the operation's result.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from itertools import islice
from typing import Any, Final, TypeVar

from llmcache.backends.redis_wire import batches, good
from llmcache.backends.semantic.base import Neighbour, Vector
from llmcache.backends.semantic.places import FLOAT, place
from llmcache.backends.semantic.redis_vectors import Command, Layout, Row, total
from llmcache.exceptions import UnsupportedOperation

T = TypeVar("T")
Step = list[Command] | int
Steps = Generator[Step, Any, T]

# So few at a time that indexing them stays far below a client's timeout.
_ADDED: Final = 32
# Dead vectors may crowd out live ones: each round removes what it meets and looks further.
_ROUNDS: Final = 5
_WIDER: Final = 8
# Left to itself the server compares all vectors of a place that it would find faster in the graph,
# where they are many of the graph's; how many is asked now and then.
_BY_GRAPH: Final = " HYBRID_POLICY BATCHES"
_MANY: Final = 1000
_SHARE: Final = 20
_COUNTED_EVERY: Final = 200
_COUNTED: Final = 1024


class Refused(UnsupportedOperation):
    """The server has no search."""

    def __init__(self, alias: str) -> None:
        super().__init__(
            f"The Redis of LLMCACHE[{alias!r}] cannot search vectors. Use Redis 8 or Redis Stack, "
            "or load the module redisearch; until then only identical prompts are found."
        )


class SemanticSteps:
    """The steps of one alias; remembers whether its server searches within scripts.

    Args:
        by_graph: whether the index has a graph.
    """

    def __init__(self, layout: Layout, alias: str, *, by_graph: bool) -> None:
        self._layout = layout
        self._by_graph = by_graph
        self._policies: dict[str, tuple[str, int]] = {}
        self._alias = alias
        self._scripted = True
        self._indexed: set[int] = set()

    def add(self, vectors: Iterable[Vector]) -> Steps[None]:
        rest = iter(vectors)
        while batch := list(islice(rest, _ADDED)):
            for dimension in {len(vector.data) // FLOAT for vector in batch} - self._indexed:
                yield dimension
                self._indexed.add(dimension)
            good((yield [one for vector in batch for one in self._layout.add(vector)]))

    def nearest(
        self, partition: str, space: str, data: bytes, limit: int
    ) -> Steps[list[Neighbour]]:
        live: list[Neighbour] = []
        if limit < 1 or not data or len(data) % FLOAT:
            return live
        tag, asked = place(self._layout.prefix, partition, space, len(data)), limit
        policy = (yield from self._policy(tag, len(data) // FLOAT)) if self._by_graph else ""
        for _ in range(_ROUNDS):
            rows = yield from self._search(tag, data, asked, policy)
            found = (self._layout.neighbour(row) for row in rows if row.live)
            live = [neighbour for neighbour in found if neighbour is not None][:limit]
            dead = [row.digest for row in rows if not row.live]
            if dead:
                yield [self._layout.forget(dead)]  # a user who may not is answered all the same
            if len(live) == limit or len(rows) < asked:
                break
            asked *= _WIDER
        return live

    def _policy(self, tag: str, dimension: int) -> Steps[str]:
        policy, left = self._policies.get(tag, ("", 0))
        if not left:
            replies = yield [self._layout.count(dimension, tag), self._layout.count(dimension)]
            if any(isinstance(reply, Exception) for reply in replies):
                return ""  # the search will say why
            here, all_ = map(total, replies)
            policy = _BY_GRAPH if here >= _MANY and here * _SHARE >= all_ else ""
            left = _COUNTED_EVERY
            if len(self._policies) >= _COUNTED:
                self._policies.clear()
        self._policies[tag] = policy, left - 1
        return policy

    def _search(self, tag: str, data: bytes, limit: int, policy: str) -> Steps[list[Row]]:
        if self._scripted:
            command = self._layout.search(tag, data, limit, policy)
            reply = yield from self._indexed_search(command, data)
            if not isinstance(reply, Exception):
                return self._layout.read(reply)
        command = self._layout.bare_search(tag, data, limit, policy)
        reply = yield from self._indexed_search(command, data)
        if isinstance(reply, Exception):
            raise reply
        # The server doesn't search within scripts, or this user may not run any.
        self._scripted = False
        rows = self._layout.read_bare(reply)
        if not rows:
            return rows
        replies = good((yield [("EXISTS", self._layout.prefix + row.digest) for row in rows]))
        checked = zip(rows, replies, strict=True)
        return [row._replace(live=row.live and bool(exists)) for row, exists in checked]

    def _indexed_search(self, command: Command, data: bytes) -> Steps[Any]:
        """A search's reply; if it fails, it may be for want of an index, which is made then."""
        (reply,) = yield [command]
        if isinstance(reply, Exception):
            yield len(data) // FLOAT
            (reply,) = yield [command]
        return reply

    def count(self) -> Steps[int]:
        (names,) = yield [("FT._LIST",)]
        if isinstance(names, Exception):
            raise Refused(self._alias) if lacks_search(names) else names
        head = self._layout.head.encode()
        own = [name for name in names if name.startswith(head)]
        if not own:
            return 0
        # Each index lists the hashes of all dimensions; one made just now has not seen them all.
        counts = [self._layout.count(int(name[len(head) :])) for name in own]
        return max(map(total, good((yield counts))))

    def delete(self, digests: list[str]) -> Steps[int]:
        removed = 0
        for batch in batches(digests):
            entries = (self._layout.prefix + digest for digest in batch)
            vectors = (self._layout.head + digest for digest in batch)
            removed += good((yield [("UNLINK", *entries), ("UNLINK", *vectors)]))[0]
        return removed

    def touch(self, digest: str, ttl: float | None) -> Steps[bool]:
        return bool(good((yield self._layout.touch(digest, ttl)))[0])


def lacks_search(error: Exception) -> bool:
    """Whether it is a server's answer to a command of a module that it doesn't have."""
    return "unknown command" in str(error).lower()
