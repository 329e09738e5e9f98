"""Pairs of questions that must never match again, kept in the store itself.

A blocked pair is an entry of its own: every process sees it at once, without a database, and a
lookup that fetches the answer of a match fetches the block with it, in one round trip.
"""

from __future__ import annotations

from hashlib import sha256
from time import time
from typing import Final

from llmcache.backends.base import BaseBackend, Item
from llmcache.envelope import EnvelopeError, seal, unseal

KIND: Final = "block"


def pair_of(partition: str, asked: str, stored: str) -> str:
    """The digest that stands for two questions of one partition, whichever was stored first."""
    texts = sorted(
        sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (asked, stored)
    )
    return sha256(b"pair" + partition.encode() + texts[0] + texts[1]).hexdigest()


def mark_of(partition: str, prompt: str) -> str:
    """What an answer's entry says in its signed header of the question that it answers, so that no
    vector that somebody else wrote leads to it from another one.
    """
    return sha256(f"{partition} {prompt}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def block(pair: str, *, signed: bool) -> Item:
    """The entry that blocks a pair, without end."""
    data = seal(
        pair,
        b"{}",
        created=time(),
        header={"kind": KIND},
        sign=signed,
    )
    return Item(pair, data, None)


def is_block(pair: str, data: bytes, *, signed: bool) -> bool:
    """Whether stored bytes block a pair; others than ours do not."""
    try:
        return unseal(pair, data, signed=signed).header.get("kind") == KIND
    except EnvelopeError:
        return False


def restore(backend: BaseBackend, *, signed: bool) -> int:
    """Block once more what was rejected, in a store that has been cleared; how many pairs.

    Raises:
        DatabaseError: the rejected pairs cannot be read.
    """
    from llmcache.models import MatchedPair

    rejected = MatchedPair.objects.rejected().filter(alias=backend.alias)
    items = [block(pair, signed=signed) for pair in rejected.values_list("pair", flat=True)]
    if items:
        backend.set_many(items)
    return len(items)
