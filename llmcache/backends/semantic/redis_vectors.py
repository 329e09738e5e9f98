"""How vectors lie in Redis: the names of keys, the commands that are sent, and what is read back.

Beside an entry's string lies a hash of the prompt's text and vector, which expires when the vector
says. Nothing here sends anything: the sync and the async methods of the store send the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from llmcache.backends.keyspace import Keyspace
from llmcache.backends.redis_wire import milliseconds
from llmcache.backends.semantic.base import Neighbour, Vector
from llmcache.backends.semantic.places import FLOAT, place
from llmcache.text import clean

SCHEMA: Final = 1
"""Raised when the hashes change; vectors of another schema are then not seen."""

Command = tuple[Any, ...]

# One round trip, and one moment: no entry can go between the search and the look at it.
_SEARCH: Final = """
local found = redis.call('FT.SEARCH', ARGV[1], ARGV[2], 'PARAMS', '2', 'vector', ARGV[3],
    'SORTBY', 'distance', 'RETURN', '2', 'distance', 'prompt', 'LIMIT', '0', ARGV[4],
    'DIALECT', '2')
local start, rows = string.len(ARGV[5]) + 1, {}
for i = 2, #found, 2 do
    local digest, live = string.sub(found[i], start), 0
    if found[i + 1] then
        live = redis.call('EXISTS', ARGV[6] .. digest)
    end
    rows[#rows + 1] = {digest, live, found[i + 1] or {}}
end
return rows
"""
# An expired hash goes when it is looked at. An entry may have come back in the meantime.
_FORGET: Final = """
for i = 3, #ARGV do
    local key = ARGV[1] .. ARGV[i]
    if redis.call('EXISTS', key) == 1 and redis.call('EXISTS', ARGV[2] .. ARGV[i]) == 0 then
        redis.call('UNLINK', key)
    end
end
"""


class Row(NamedTuple):
    """One answer of a search."""

    digest: str
    fields: Mapping[bytes, bytes]
    live: bool


class Layout:
    """Where the vectors of one alias are."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        # With its length, no alias's prefix begins another's.
        self.head = f"llmcache-vectors:{SCHEMA}:{len(prefix)}:{prefix}"
        self.keys = Keyspace(self.head)

    def index(self, dimension: int) -> str:
        """The name of the index for vectors of a dimension."""
        return f"{self.head}{dimension}"

    def add(self, vector: Vector) -> list[Command]:
        key, dimension = self.head + vector.digest, len(vector.data) // FLOAT
        tag = place(self.prefix, vector.partition, vector.space, len(vector.data))
        commands: list[Command] = [
            ("UNLINK", key),
            (
                *("HSET", key, "place", tag, "prompt", clean(vector.prompt).encode()),
                *(field(dimension), vector.data),
            ),
        ]
        if vector.expires is not None:
            commands.append(("PEXPIREAT", key, math.ceil(vector.expires * 1000)))
        return commands

    def touch(self, digest: str, ttl: float | None) -> list[Command]:
        """Commands of which the first answers 1 for an entry that is there."""
        px, entry, key = milliseconds(ttl), self.prefix + digest, self.head + digest
        if px is not None:
            return [("PEXPIRE", entry, px), ("PEXPIRE", key, px)]
        return [("EXISTS", entry), ("PERSIST", entry), ("PERSIST", key)]

    def forget(self, digests: Iterable[str]) -> Command:
        """Remove the vectors of entries that are gone."""
        return ("EVAL", _FORGET, 0, self.head, self.prefix, *digests)

    def count(self, dimension: int, tag: str | None = None) -> Command:
        """Ask how many vectors a place has, or how many there are at all."""
        asked = "*" if tag is None else f"@place:{{{tag}}}"
        return ("FT.SEARCH", self.index(dimension), asked, "LIMIT", 0, 0, "DIALECT", 2)

    def search(self, tag: str, data: bytes, limit: int, policy: str = "") -> Command:
        """Search and look whether the entries are there, in one go."""
        dimension = len(data) // FLOAT
        asked = _query(tag, dimension, limit, policy)
        index = self.index(dimension)
        return ("EVAL", _SEARCH, 0, index, asked, data, limit, self.head, self.prefix)

    def bare_search(self, tag: str, data: bytes, limit: int, policy: str = "") -> Command:
        """Only search, for servers that allow no search in a script."""
        dimension = len(data) // FLOAT
        return (
            *("FT.SEARCH", self.index(dimension), _query(tag, dimension, limit, policy)),
            *("PARAMS", 2, "vector", data, "SORTBY", "distance"),
            *("RETURN", 2, "distance", "prompt", "LIMIT", 0, limit, "DIALECT", 2),
        )

    def read(self, reply: Any) -> list[Row]:
        """The rows of a `search`."""
        return [
            Row(digest.decode("utf-8", "replace"), _mapping(fields), bool(live))
            for digest, live, fields in reply
        ]

    def read_bare(self, reply: Any) -> list[Row]:
        """The rows of a `bare_search`, of which it doesn't know whether their entries live."""
        if isinstance(reply, Mapping):  # RESP3
            found = [(row[b"id"], row.get(b"extra_attributes")) for row in reply[b"results"]]
        else:
            found = list(zip(reply[1::2], reply[2::2], strict=True))
        cut = len(self.head.encode())
        return [
            Row(key[cut:].decode("utf-8", "replace"), _mapping(fields or ()), bool(fields))
            for key, fields in found
        ]

    def neighbour(self, row: Row) -> Neighbour | None:
        """The neighbour in a row, unless the row is damaged or another program's."""
        try:
            similarity = 1.0 - float(row.fields[b"distance"])
            prompt = row.fields[b"prompt"].decode()
        except (KeyError, ValueError):
            return None
        if not math.isfinite(similarity) or self.keys.digest(self.head + row.digest) is None:
            return None
        return Neighbour(row.digest, prompt, min(1.0, max(0.0, similarity)))


def field(dimension: int) -> str:
    """The field of a hash with a vector of so many numbers: an index only knows its own."""
    return f"vector_{dimension}"


def total(reply: Any) -> int:
    """The number in the reply to a `count`."""
    return int(reply[b"total_results"] if isinstance(reply, Mapping) else reply[0])


def _query(tag: str, dimension: int, limit: int, policy: str) -> str:
    return f"(@place:{{{tag}}})=>[KNN {limit} @{field(dimension)} $vector{policy} AS distance]"


def _mapping(fields: Any) -> Mapping[bytes, bytes]:
    if isinstance(fields, Mapping):
        return fields
    pairs: Sequence[bytes] = fields
    return dict(zip(pairs[::2], pairs[1::2], strict=True))
