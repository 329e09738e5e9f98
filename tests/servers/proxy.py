"""A TCP proxy in front of a real server, which makes a bad network of a good one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_FAILURE = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """Takes connections on a port of its own and hands them on.

    Attributes:
        target: the port on this machine that connections go to; for new ones and, by `cut_all`,
            for all.
        delay: seconds before each piece of an answer is handed on.
        refuses: connections are closed as soon as they come.
        fails: each request gets the status 500, and the connection is closed.
        cut_after: bytes of an answer after which the connection is closed; None: all are handed on.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0
        self.refuses = self.fails = False
        self.cut_after: int | None = None
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[Any]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def cut_all(self) -> None:
        """Close every connection that there is."""
        asyncio.run_coroutine_threadsafe(self._cut_all(), self._loop).result(timeout=10)

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        """Close everything."""
        self.cut_all()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _cut_all(self) -> None:
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._taken, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(OSError):
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # by `cut_all`
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            return
        if self.fails:
            await reader.read(65536)
            writer.write(_FAILURE)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return
        answers, requests = await asyncio.open_connection("127.0.0.1", self.target)
        both = [
            asyncio.create_task(self._requests(reader, requests)),
            asyncio.create_task(self._answers(answers, writer)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            requests.transport.abort()

    async def _requests(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            if self.fails or self.refuses:
                return
            sink.write(data)
            await sink.drain()

    async def _answers(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        given = 0
        while data := await source.read(65536):
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.cut_after is not None:
                data = data[: max(0, self.cut_after - given)]
            given += len(data)
            sink.write(data)
            await sink.drain()
            if self.cut_after is not None and given >= self.cut_after:
                return


@contextmanager
def before(target: int) -> Iterator[Proxy]:
    """A proxy in front of a port."""
    proxy = Proxy(target)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
