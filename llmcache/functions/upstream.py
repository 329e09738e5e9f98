"""The function itself, as the engine asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import orjson

from llmcache import events
from llmcache.conf import ProviderSettings
from llmcache.functions.values import Codec, NotKept
from llmcache.upstreams.base import BaseUpstream, UpstreamRequest

_SETTINGS: Final = ProviderSettings(name="function")
_KEPT: Final = b"{}\n"
UNSET: Final = object()


class FunctionUpstream(BaseUpstream):
    """Calls a function once, with arguments that are bound already.

    Attributes:
        value: what it has returned, or yielded last; UNSET as long as it was not called.
        unkept: called when a yielded value cannot be kept, so that nothing of the call is.
    """

    kinds = frozenset({"function"})

    def __init__(
        self, name: str, run: Callable[[], Any], codec: Codec, *, store_none: bool
    ) -> None:
        super().__init__(_SETTINGS)
        self._function = name
        self._run = run
        self._codec = codec
        self._store_none = store_none
        self.value: Any = UNSET
        self.unkept: Callable[[], None] = lambda: None

    def identity(self, base_url: str | None = None) -> str:
        return "function"

    def call(self, request: UpstreamRequest) -> bytes:
        return self._kept(self._run())

    async def acall(self, request: UpstreamRequest) -> bytes:
        return self._kept(await self._run())

    def stream(self, request: UpstreamRequest) -> Iterator[bytes]:
        yield b"{}"
        values = self._run()
        try:
            for value in values:
                yield self._line(value)
        finally:
            values.close()

    async def astream(self, request: UpstreamRequest) -> AsyncIterator[bytes]:
        yield b"{}"
        values = self._run()
        try:
            async for value in values:
                yield self._line(value)
        finally:
            await values.aclose()

    def _kept(self, value: Any) -> bytes:
        self.value = value
        if value is None and not self._store_none:
            return orjson.dumps({"refused": "the function returned None"}) + b"\n"
        try:
            return _KEPT + self._codec.write(value)
        except NotKept as error:
            self._warn(error)
            return orjson.dumps({"refused": "the value cannot be kept"}) + b"\n"

    def _line(self, value: Any) -> bytes:
        self.value = value
        try:
            return self._codec.write(value)
        except NotKept as error:
            self._warn(error)
            self.unkept()
            return b"null"

    def _warn(self, error: NotKept) -> None:
        events.warn_once("not_kept", "What %s gives is not stored: %s", self._function, error)
