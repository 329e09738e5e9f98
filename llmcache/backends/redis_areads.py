"""The read of one key, for event loops: all tasks of a loop share one connection to each server.

Each read is written at once if none is under way, and together with the others of its moment if
some are; Redis answers in order. So a hundred tasks cost a few packets, where redis-py would open a
hundred connections. The connection is one of redis-py's, which has opened and authenticated it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

import redis

from llmcache.backends.deadlines import Deadline
from llmcache.backends.exchanges import Exchanges
from llmcache.backends.redis_reads import command

_END = b"\r\n"
_LONGEST: Final = 10.0
"""Seconds that a question may wait, besides its own time, while others are answered."""


class AsyncReads:
    """One server's reads on one event loop.

    Args:
        pool: makes the connection.
        bound: seconds that connecting or one exchange may take; None for no limit.
    """

    def __init__(self, pool: Any, bound: float | None) -> None:
        self._pool = pool
        self._bound = bound
        self._exchanges = Exchanges(bound)
        self._line: _Line | None = None
        self._connection: Any = None
        self._opening: asyncio.Task[_Line] | None = None

    async def get(self, key: str) -> bytes | None:
        """The value of a key; None where there is none.

        Raises:
            redis.RedisError, OSError: the server does not answer, or not with a value.
        """
        words = command(key)
        line = self._line
        if line is None or line.is_closed:
            return await (await self._open()).ask(words)
        try:
            return await line.ask(words)
        except redis.ConnectionError:  # it was cut since it was used last
            return await (await self._open()).ask(words)

    async def _open(self) -> _Line:
        line, opening = self._line, self._opening
        if line is not None and not line.is_closed:
            return line  # another task has just opened it
        if opening is None:
            # A task of its own: whoever leaves meanwhile leaves the others their connection, and
            # all go on at once when it is there.
            opening = self._opening = asyncio.create_task(self._opened())
            opening.add_done_callback(self._has_opened)
        return await asyncio.shield(opening)

    def _has_opened(self, opening: asyncio.Task[_Line]) -> None:
        self._opening = None
        opening.cancelled() or opening.exception()  # it may be that nobody waits any more

    async def _opened(self) -> _Line:
        async with self._exchanges.one():
            await self.close()
            connection = self._pool.connection_class(**self._pool.connection_kwargs)
            try:
                await connection.connect()
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            transport = connection._writer.transport
            self._line = line = _Line(transport, self._bound)
            transport.set_protocol(line)
            self._connection = connection
            return line

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection, self._line = self._connection, None, None
        if connection is not None:
            await connection.disconnect(nowait=True)


class _Line(asyncio.Protocol):
    """Questions on their way and the replies that come for them, in the same order."""

    def __init__(self, transport: Any, bound: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._bound = bound
        self._waiting: deque[tuple[asyncio.Future[bytes | None], float]] = deque()
        self._unsent: list[bytes] = []
        self._received = bytearray()
        self._watch: Deadline | None = None
        self._heard = 0.0  # when the server last said something
        self.is_closed = False

    def ask(self, words: bytes) -> asyncio.Future[bytes | None]:
        """What the server will answer."""
        loop, bound = self._loop, self._bound
        future: asyncio.Future[bytes | None] = loop.create_future()
        now = loop.time()
        if self._unsent:
            self._unsent.append(words)
        elif self._waiting:
            self._unsent.append(words)
            loop.call_soon(self._send)
        else:
            self._transport.write(words)
        self._waiting.append((future, now))
        if self._watch is None and bound is not None:
            self._watch = Deadline(loop, bound, self._look)
        return future

    def _send(self) -> None:
        words, self._unsent = self._unsent, []
        if not self.is_closed:
            self._transport.write(b"".join(words))

    def _look(self) -> None:
        """Has the oldest question waited too long? One timer serves all of them.

        While answers to others come, it is not the server that is late: thousands of tasks that go
        on with theirs take longer than one exchange may.
        """
        self._watch = None
        if not self._waiting or self._bound is None or self.is_closed:
            return
        asked, now = self._waiting[0][1], self._loop.time()
        end = min(max(asked, self._heard), asked + _LONGEST) + self._bound
        if end <= now:
            self._give_up(redis.TimeoutError("Redis did not answer in time"))
        else:
            self._watch = Deadline(self._loop, end - now, self._look)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        received = self._received
        received += data
        start = 0
        try:
            while self._waiting:
                reply, after = _parsed(received, start)
                if after == 0:
                    break
                start = after
                self._answer(reply)
            if not self._waiting and start < len(received):
                raise ValueError("more than was asked for")  # the next question's answer it is not
        except ValueError as error:
            self._give_up(redis.InvalidResponse(str(error)))
            return
        del received[:start]

    def _answer(self, reply: bytes | Exception | None) -> None:
        future = self._waiting.popleft()[0]
        if future.done():
            return  # whoever asked has gone away
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self._give_up(redis.ConnectionError(f"Redis has closed the connection: {error or 'end'}"))

    def _give_up(self, error: Exception) -> None:
        self.is_closed = True
        self._transport.abort()
        if self._watch is not None:
            self._watch.cancel()
        while self._waiting:
            self._answer(error)


def _parsed(received: bytearray, start: int) -> tuple[bytes | Exception | None, int]:
    """The reply that begins there and where the next one does; 0 for that if it isn't whole yet.

    Raises:
        ValueError: no reply to GET begins so.
    """
    line_end = received.find(_END, start)
    if line_end < 0:
        return None, 0
    kind, rest = received[start : start + 1], received[start + 1 : line_end]
    after = line_end + len(_END)
    if kind == b"$":
        size = int(rest)
        if size < 0:
            return None, after
        end = after + size
        whole = end + len(_END)
        return (bytes(received[after:end]), whole) if whole <= len(received) else (None, 0)
    if kind == b"_":  # RESP3
        return None, after
    if kind == b"-":
        return redis.ResponseError(rest.decode(errors="replace")), after
    raise ValueError(f"a reply to GET that begins with {bytes(kind)!r}")
