"""What Redis takes and gives: times to live, many keys at once, replies that may be errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, overload

BATCH: Final = 500
"""Keys of one command: more would keep other clients of the server waiting."""


@overload
def milliseconds(ttl: float) -> int: ...
@overload
def milliseconds(ttl: float | None) -> int | None: ...
def milliseconds(ttl: float | None) -> int | None:
    """A ttl as Redis wants it, never shorter than asked."""
    return None if ttl is None else max(1, math.ceil(ttl * 1000))


def batches(keys: list[str]) -> Iterator[list[str]]:
    """The keys, so many at a time."""
    for start in range(0, len(keys), BATCH):
        yield keys[start : start + BATCH]


def good(replies: Sequence[Any]) -> Sequence[Any]:
    """The replies; raises the first that is an error."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
