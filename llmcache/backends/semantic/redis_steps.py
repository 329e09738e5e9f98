"""What is asked of Redis for each operation, step by step. The store's sync and async methods run
the same steps and only differ in how they send.

A step is a list of commands, answered by a list of replies in which an error reply is an exception;
or the dimension of an index to make. What a generator returns is the operation's result.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from llmcache.backends.redis_commands import batches
from llmcache.backends.semantic.base import Neighbour, Vector
from llmcache.backends.semantic.places import FLOAT, place
from llmcache.backends.semantic.redis_vectors import Command, Layout, Row
from llmcache.exceptions import UnsupportedOperation

T = TypeVar("T")
Step = list[Command] | int
Steps = Generator[Step, Any, T]

# So few at a time that indexing them stays far below a client's timeout.
_ADDED: Final = 32
# Dead vectors may crowd out live ones: each round removes what it meets and looks further.
_ROUNDS: Final = 5
_WIDER: Final = 8


class Refused(UnsupportedOperation):
    """The server has no search."""

    def __init__(self, alias: str) -> None:
        super().__init__(
            f"The Redis of LLMCACHE[{alias!r}] cannot search vectors. Use Redis 8 or Redis Stack, "
            "or load the module redisearch; until then only identical prompts are found."
        )


class SemanticSteps:
    """The steps of one alias; remembers whether its server searches within scripts."""

    def __init__(self, layout: Layout, alias: str) -> None:
        self._layout = layout
        self._alias = alias
        self._scripted = True
        self._indexed: set[int] = set()

    def add(self, vectors: Iterable[Vector]) -> Steps[None]:
        rest = iter(vectors)
        while batch := list(islice(rest, _ADDED)):
            for dimension in {len(vector.data) // FLOAT for vector in batch} - self._indexed:
                yield dimension
                self._indexed.add(dimension)
            _good((yield [one for vector in batch for one in self._layout.add(vector)]))

    def nearest(
        self, partition: str, space: str, data: bytes, limit: int
    ) -> Steps[list[Neighbour]]:
        live: list[Neighbour] = []
        if limit < 1 or not data or len(data) % FLOAT:
            return live
        tag, asked = place(self._layout.prefix, partition, space, len(data)), limit
        for _ in range(_ROUNDS):
            rows = yield from self._search(tag, data, asked)
            found = (self._layout.neighbour(row) for row in rows if row.live)
            live = [neighbour for neighbour in found if neighbour is not None][:limit]
            dead = [row.digest for row in rows if not row.live]
            if dead:
                yield [self._layout.forget(dead)]  # a user who may not is answered all the same
            if len(live) == limit or len(rows) < asked:
                break
            asked *= _WIDER
        return live

    def _search(self, tag: str, data: bytes, limit: int) -> Steps[list[Row]]:
        if self._scripted:
            reply = yield from self._indexed_search(self._layout.search(tag, data, limit), data)
            if not isinstance(reply, Exception):
                return self._layout.read(reply)
        reply = yield from self._indexed_search(self._layout.bare_search(tag, data, limit), data)
        if isinstance(reply, Exception):
            raise reply
        # The server doesn't search within scripts, or this user may not run any.
        self._scripted = False
        rows = self._layout.read_bare(reply)
        if not rows:
            return rows
        replies = _good((yield [("EXISTS", self._layout.prefix + row.digest) for row in rows]))
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
        found = _good((yield [("FT.SEARCH", name, "*", "LIMIT", 0, 0) for name in own]))
        return max(int(one[b"total_results"] if isinstance(one, dict) else one[0]) for one in found)

    def delete(self, digests: list[str]) -> Steps[int]:
        removed = 0
        for batch in batches(digests):
            entries = (self._layout.prefix + digest for digest in batch)
            vectors = (self._layout.head + digest for digest in batch)
            removed += _good((yield [("UNLINK", *entries), ("UNLINK", *vectors)]))[0]
        return removed

    def touch(self, digest: str, ttl: float | None) -> Steps[bool]:
        return bool(_good((yield self._layout.touch(digest, ttl)))[0])


def lacks_search(error: Exception) -> bool:
    """Whether it is a server's answer to a command of a module that it doesn't have."""
    return "unknown command" in str(error).lower()


def _good(replies: Sequence[Any]) -> Sequence[Any]:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
