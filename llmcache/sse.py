"""Server-sent events: a parser that is fed bytes. No I/O.

After the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream".
"""

from __future__ import annotations

from typing import Final, NamedTuple

_BOM: Final = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event: its data and its type ("" where the stream gave none)."""

    data: bytes
    type: str


class SSEError(ValueError):
    """The stream holds a line or an event over the limit."""


class Parser:
    """Feed it bytes as they arrive, in pieces of any size; it gives the events that are complete.

    Args:
        limit: bytes that one event may have.
    """

    def __init__(self, limit: int = 16 * 1024 * 1024) -> None:
        self._limit = limit
        self._line = bytearray()
        self._at_start = True
        self._skip_newline = False
        self._data: list[bytes] = []
        self._size = 0
        self._type = ""

    def feed(self, piece: bytes) -> list[Event]:
        """The events that this piece completes.

        Raises:
            SSEError: an event is over the limit.
        """
        if not piece:
            return []
        if self._skip_newline:
            piece = piece.removeprefix(b"\n")
        # A CR at the very end already ends its line; a LF that follows it belongs to it.
        self._skip_newline = piece.endswith(b"\r")
        first, *others = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._line += first
        events = []
        for other in others:
            event = self._take(self._whole_line())
            if event is not None:
                events.append(event)
            self._line += other
        self._check_line()
        return events

    def _check_line(self) -> None:
        if len(self._line) > self._limit:
            raise SSEError(f"a line of the stream is over {self._limit} bytes")

    def _whole_line(self) -> bytes:
        self._check_line()
        line = bytes(self._line)
        self._line.clear()
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        return line

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._size += len(value) + 1
            if self._size > self._limit:
                raise SSEError(f"an event of the stream is over {self._limit} bytes")
            self._data.append(value)
        elif field == b"event":
            self._type = value.decode("utf-8", "replace")
        return None

    def _dispatch(self) -> Event | None:
        data, kind = self._data, self._type
        self._data, self._size, self._type = [], 0, ""
        return Event(b"\n".join(data), kind) if data else None
