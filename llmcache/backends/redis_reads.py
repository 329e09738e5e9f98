"""The read of one key, for threads: what every hit of a store in Redis waits for.

redis-py's own `get` spends as long on looking after its pool and its retries as the server takes to
answer. Here a connection of redis-py's, which it has made ready, is used for nothing but GET, and
lies on a list between two reads.
"""

from __future__ import annotations

import os
from typing import Any, Final
from weakref import WeakSet

import redis

_MOST_IDLE: Final = 64
_UNUSUAL: Final = frozenset({"max_connections", "encoding", "encoding_errors", "parser_class"})


def can_be_direct(pool_class: type[Any], options: dict[str, Any]) -> bool:
    """Whether reads may do without redis-py's pool: not where it has a say in how many connections
    there are, or where keys and replies are written in another way.
    """
    return pool_class is redis.ConnectionPool and _UNUSUAL.isdisjoint(options)


def command(key: str) -> bytes:
    """GET, as it travels."""
    name = key.encode()
    return b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(name), name)


class Reads:
    """Connections to one server that read, as many as threads read at once.

    Args:
        pool: makes the connections, and keeps none of them.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._idle: list[Any] = []  # appended to and popped from in one step each: needs no lock
        _living.add(self)

    def get(self, key: str) -> bytes | None:
        """The value of a key; None where there is none.

        Raises:
            redis.RedisError, OSError: the server does not answer, or not with a value.
        """
        words = command(key)
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._exchanged(self._opened(), words)
        try:
            return self._exchanged(connection, words)
        except redis.ConnectionError:  # it was cut since it was used last
            return self._exchanged(self._opened(), words)

    def _opened(self) -> Any:
        return self._pool.connection_class(**self._pool.connection_kwargs)

    def _exchanged(self, connection: Any, words: bytes) -> bytes | None:
        try:
            connection.send_packed_command((words,))
            value: bytes | None = connection.read_response(disable_decoding=True)
        except BaseException:
            connection.disconnect()  # what it may still say answers nobody's next question
            raise
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.disconnect()
        return value

    def close(self) -> None:
        """Close the connections that nobody uses just now."""
        while self._idle:
            self._idle.pop().disconnect()

    def _forget(self) -> None:
        self._idle = []


_living: WeakSet[Reads] = WeakSet()


def _forget_all() -> None:
    """The connections are the parent's: two processes would read each other's replies."""
    for reads in _living:
        reads._forget()


os.register_at_fork(after_in_child=_forget_all)
