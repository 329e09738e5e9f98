"""A provider of one's own: the local model, started when the first question is asked."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack

from example_project.local_model import MODEL, ModelUnavailable, running
from llmcache.conf import ProviderSettings
from llmcache.exceptions import UpstreamUnreachable
from llmcache.upstreams.base import BaseUpstream, UpstreamRequest
from llmcache.upstreams.openai import OpenAICompatible


class LocalProvider(BaseUpstream):
    """Hands every request to an OpenAICompatible upstream over the local model."""

    def __init__(self, settings: ProviderSettings) -> None:
        super().__init__(settings)
        self._model = ExitStack()
        self._upstream: OpenAICompatible | None = None
        self._lock = threading.Lock()
        atexit.register(self.close)

    def identity(self, base_url: str | None = None) -> str:
        # The port changes with every start; the answers of one model remain those of one model.
        return f"local|{MODEL}"

    def ready(self) -> OpenAICompatible:
        """The upstream, after starting the model if that has not been done."""
        with self._lock:
            if self._upstream is None:
                try:
                    base_url = self._model.enter_context(running())
                except ModelUnavailable as error:
                    raise UpstreamUnreachable(str(error), provider=self.name) from error
                options = {"base_url": base_url, "api_key_env": "NO_KEY_NEEDED"}
                self._upstream = OpenAICompatible(ProviderSettings(name=self.name, options=options))
            return self._upstream

    def call(self, request: UpstreamRequest) -> bytes:
        return self.ready().call(request)

    def stream(self, request: UpstreamRequest) -> Iterator[bytes]:
        return self.ready().stream(request)

    async def acall(self, request: UpstreamRequest) -> bytes:
        upstream = await asyncio.to_thread(self.ready)
        return await upstream.acall(request)

    async def astream(self, request: UpstreamRequest) -> AsyncGenerator[bytes, None]:
        upstream = await asyncio.to_thread(self.ready)
        events = upstream.astream(request)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    def close(self) -> None:
        with self._lock:
            if self._upstream is not None:
                self._upstream.close()
                self._upstream = None
            self._model.close()
