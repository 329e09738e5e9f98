"""The upstream that stands in for a provider while a cassette is in: sync and async, whole and
streamed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from llmcache import error_json
from llmcache.exceptions import UpstreamError
from llmcache.streams import assemble, split
from llmcache.testing.cassette import Interaction, body_of
from llmcache.testing.layers import Layer, StandIn
from llmcache.testing.player import Noted, Player
from llmcache.testing.problems import CassetteError
from llmcache.upstreams.base import BaseUpstream, UpstreamRequest

# How a reader leaves a stream: it closes it, or its task is cancelled.
_LEFT = (GeneratorExit, asyncio.CancelledError)


class CassetteLayer(Layer):
    """Answers calls from a cassette, or lets them through and records them.

    Args:
        player: None lets all calls through.
        chunk_delay: seconds between the chunks of replayed streams.
    """

    is_source = True

    def __init__(self, player: Player | None, chunk_delay: float) -> None:
        self.player = player
        self.chunk_delay = chunk_delay

    def stand_in(self, upstream: BaseUpstream) -> BaseUpstream:
        player = self.player
        if player is None or (player.path is None and not upstream.is_live):
            return upstream
        return _Playing(upstream, player, self.chunk_delay)


class _Playing(StandIn):
    def __init__(self, upstream: BaseUpstream, player: Player, chunk_delay: float) -> None:
        super().__init__(upstream)
        self._player = player
        self._delay = chunk_delay

    def call(self, request: UpstreamRequest) -> bytes:
        noted = self._player.describe(self.real, request, stream=False)
        recorded = self._player.take(noted)
        if recorded is not None:
            return _whole(recorded)
        try:
            body = self.real.call(request)
        except UpstreamError as error:
            self._player.record(noted, error=error)
            raise
        self._player.record(noted, answer=body)
        return body

    async def acall(self, request: UpstreamRequest) -> bytes:
        noted = self._player.describe(self.real, request, stream=False)
        recorded = self._player.take(noted)
        if recorded is not None:
            return _whole(recorded)
        try:
            body = await self.real.acall(request)
        except UpstreamError as error:
            self._player.record(noted, error=error)
            raise
        self._player.record(noted, answer=body)
        return body

    def stream(self, request: UpstreamRequest) -> Iterator[bytes]:
        noted = self._player.describe(self.real, request, stream=True)
        recorded = self._player.take(noted)
        if recorded is not None:
            for number, chunk in enumerate(_chunks(recorded)):
                if number and self._delay:
                    time.sleep(self._delay)
                yield chunk
            self._finish(recorded)
            return
        chunks: list[bytes] = []
        source = self.real.stream(request)
        try:
            for chunk in source:
                chunks.append(chunk)
                yield chunk
        except BaseException as error:
            self._record_end(noted, chunks, error)
            raise
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
        self._player.record(noted, chunks=chunks)

    async def astream(self, request: UpstreamRequest) -> AsyncIterator[bytes]:
        noted = self._player.describe(self.real, request, stream=True)
        recorded = self._player.take(noted)
        if recorded is not None:
            for number, chunk in enumerate(_chunks(recorded)):
                if number and self._delay:
                    await asyncio.sleep(self._delay)
                yield chunk
            self._finish(recorded)
            return
        chunks: list[bytes] = []
        source = self.real.astream(request)
        try:
            async for chunk in source:
                chunks.append(chunk)
                yield chunk
        except BaseException as error:
            self._record_end(noted, chunks, error)
            raise
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()
        self._player.record(noted, chunks=chunks)

    def _record_end(self, noted: Noted, chunks: list[bytes], error: BaseException) -> None:
        """Record a stream that did not come to its clean end."""
        if isinstance(error, UpstreamError):
            self._player.record(noted, chunks=chunks, error=error)
        elif isinstance(error, _LEFT) and chunks:
            self._player.record(noted, chunks=chunks, left=True)

    def _finish(self, recorded: Interaction) -> None:
        if recorded.error is not None:
            raise _error(recorded.error)
        if recorded.left:
            raise self._player.left_off(recorded)


def _error(recorded: dict[str, Any]) -> UpstreamError:
    """The error that a cassette keeps.

    Raises:
        CassetteError: there is no such class.
    """
    try:
        return error_json.from_json(recorded)
    except KeyError:
        raise CassetteError(
            f"A cassette has an error of the class {recorded.get('class')!r}; known are "
            f"{', '.join(error_json.CLASSES)}."
        ) from None


def _whole(recorded: Interaction) -> bytes:
    """A recorded answer, whichever way it was asked for when it was recorded."""
    if recorded.error is not None:
        raise _error(recorded.error)
    if recorded.chunks is None:
        return body_of(recorded.answer)
    return assemble(recorded.request["kind"], [body_of(chunk) for chunk in recorded.chunks])


def _chunks(recorded: Interaction) -> list[bytes]:
    if recorded.chunks is not None:
        return [body_of(chunk) for chunk in recorded.chunks]
    if recorded.error is not None:
        return []
    return split(recorded.request["kind"], body_of(recorded.answer))
