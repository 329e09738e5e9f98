"""A stream of events as the provider's own API sends it: server-sent events, framed by kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

import orjson

CONTENT_TYPE: Final = "text/event-stream"
DONE: Final = b"data: [DONE]\n\n"
_NAMED: Final = frozenset({"messages", "responses"})
"""Kinds whose events have their type in a field of their own, and whose last event says so."""


def frame(kind: str, raw: bytes) -> bytes:
    """One event as it travels.

    Args:
        raw: the event's JSON, on one line.
    """
    if kind in _NAMED:
        event = orjson.loads(raw)
        return b"event: %s\ndata: %s\n\n" % (str(event.get("type", "message")).encode(), raw)
    return b"data: %s\n\n" % raw


def end(kind: str) -> bytes:
    """What follows the last event."""
    return b"" if kind in _NAMED else DONE


def frames(kind: str, events: Iterator[bytes]) -> Iterator[bytes]:
    """A whole stream of events as it travels."""
    for raw in events:
        yield frame(kind, raw)
    if last := end(kind):
        yield last


async def aframes(kind: str, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """As `frames`, for async streams."""
    async for raw in events:
        yield frame(kind, raw)
    if last := end(kind):
        yield last
