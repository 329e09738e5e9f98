"""One way to write a case for the sync and the async side of an upstream alike."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from llmcache.upstreams.base import BaseUpstream, UpstreamRequest


class SyncDriver:
    def call(self, upstream: BaseUpstream, request: UpstreamRequest) -> Any:
        return orjson.loads(upstream.call(request))

    def stream(
        self, upstream: BaseUpstream, request: UpstreamRequest, most: int | None = None
    ) -> list[bytes]:
        """All events of a stream, or some of them, the stream then being closed."""
        source: Any = upstream.stream(request)
        if most is None:
            return list(source)
        found = [next(source) for _ in range(most)]
        source.close()
        return found

    def close(self) -> None:
        pass


class AsyncDriver:
    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def call(self, upstream: BaseUpstream, request: UpstreamRequest) -> Any:
        return orjson.loads(self._runner.run(upstream.acall(request)))  # type: ignore[arg-type]

    def stream(
        self, upstream: BaseUpstream, request: UpstreamRequest, most: int | None = None
    ) -> list[bytes]:
        async def read() -> list[bytes]:
            source: Any = upstream.astream(request)
            if most is None:
                return [event async for event in source]
            found = [await anext(source) for _ in range(most)]
            await source.aclose()
            return found

        return self._runner.run(read())

    def close(self) -> None:
        self._runner.close()
