"""The view itself, as the engine asks it: one request's view stands where else a provider does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from llmcache.conf import ProviderSettings
from llmcache.exceptions import ServerFailed, UpstreamError
from llmcache.singleflight import Unshared
from llmcache.upstreams.base import BaseUpstream, UpstreamRequest
from llmcache.views import answers

_SETTINGS: Final = ProviderSettings(name="view")


class ViewUpstream(BaseUpstream):
    """Runs a view for one request.

    Args:
        view: the view with its arguments bound.
        scope, keyed: as `answers.refusal` takes them.

    Attributes:
        response: what the view gave to this request; None as long as it was not asked. An answer
            made in the background, for those who come after, is not kept here.
        may_rescue: whether an old answer would serve in place of a failing view's.
    """

    kinds = frozenset({"view"})

    def __init__(
        self,
        view: Callable[[], Any],
        request: HttpRequest,
        scope: str | None,
        keyed: frozenset[str],
        *,
        shared: bool,
    ) -> None:
        super().__init__(_SETTINGS)
        self._view = view
        self._request = request
        self._scope = scope
        self._keyed = keyed
        self._shared = shared
        self._thread = threading.get_ident()
        self._task: Any = None
        self.response: HttpResponseBase | None = None
        self.may_rescue: Callable[[], bool] = lambda: False

    def identity(self, base_url: str | None = None) -> str:
        return "view"

    def call(self, request: UpstreamRequest) -> bytes:
        try:
            response = self._view()
        except UpstreamError:
            raise
        except Exception as error:
            raise Unshared(error) from error
        in_background = threading.get_ident() != self._thread
        if in_background and response.streaming:
            return self.drained(response, list(response))
        return self._taken(response, in_background=in_background)

    async def acall(self, request: UpstreamRequest) -> bytes:
        try:
            response = await self._view()
        except UpstreamError:
            raise
        except Exception as error:
            raise Unshared(error) from error
        in_background = asyncio.current_task() is not self._task
        if in_background and response.streaming:
            return self.drained(response, [chunk async for chunk in response])
        return self._taken(response, in_background=in_background)

    def here(self) -> None:
        """Note that the running task is the request's own."""
        self._task = asyncio.current_task()

    def _taken(self, response: HttpResponseBase, *, in_background: bool) -> bytes:
        render = getattr(response, "render", None)
        if callable(render):
            response = render()
        if not in_background:
            self.response = response
        if response.streaming:
            raise Unshared  # who else waits cannot read the same stream
        if response.status_code >= 500 and self.may_rescue():
            raise ServerFailed(f"the view answered with status {response.status_code}")
        head = answers.head_of(response, self.refusal(response))
        return head + b"\n" + response.content  # type: ignore[attr-defined,no-any-return]

    def refusal(self, response: HttpResponseBase) -> str:
        """Why the answer may not be stored; "" when it may."""
        return answers.refusal(
            self._request, response, self._scope, self._keyed, shared=self._shared
        )

    def drained(self, response: HttpResponseBase, chunks: list[bytes]) -> bytes:
        """A whole stream as an entry."""
        head = answers.head_of(response, self.refusal(response))
        return b"\n".join([head, *map(answers.line_of, chunks)])


def lines(chunks: Any) -> Iterator[bytes]:
    """A streaming answer's chunks as lines of an entry, as the view makes them."""
    try:
        for chunk in chunks:
            yield answers.line_of(chunk)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


async def alines(chunks: Any) -> AsyncIterator[bytes]:
    """As `lines`, for an async stream."""
    try:
        async for chunk in chunks:
            yield answers.line_of(chunk)
    finally:
        close: Callable[[], Awaitable[None]] | None = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
