"""A view in a provider's place: asked for an answer, it runs."""

from __future__ import annotations

import asyncio
import copy
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone, translation

from llmcache import events
from llmcache.exceptions import UpstreamError
from llmcache.own_code import OwnCode, line, refused
from llmcache.singleflight import Unshared
from llmcache.upstreams.base import UpstreamRequest
from llmcache.views import answers
from llmcache.views.scopes import Scope
from llmcache.views.watching import Watch


class ViewFailed(UpstreamError):
    """A view failed while an old answer may stand in for it. Nothing of the failure is in here: it
    is for the visitor alone whose request it was."""


class ViewCall(OwnCode):
    """One request to one view.

    Attributes:
        response: what the view has answered this request, if it was asked.
        error: how it failed, if it did.
        chunk: what its stream has given last.
        private: why its stream is private, as far as the view has shown before the stream began.
        language, time_zone: those in force when the visitor came.
    """

    def __init__(
        self,
        view: Callable[..., Any],
        name: str,
        request: HttpRequest,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        scope: Scope,
        vary_on: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.view, self.view_name = view, name
        self.request, self.args, self.kwargs = request, args, kwargs
        self.scope, self.vary_on = scope, vary_on
        self.response: Any = None
        self.chunk = b""
        self.private = ""
        self.error: Exception | None = None
        self.language = translation.get_language()
        self.time_zone = timezone.get_current_timezone()
        self._place: object = threading.current_thread()

    @property
    def strict(self) -> bool:
        """Whether the answer may not depend on who asks."""
        return self.scope.value is None and not self.scope.shared

    def note_task(self) -> None:
        """Note the task that the visitor is served by."""
        self._place = asyncio.current_task()

    # --- run by the drivers ---

    def call(self, request: UpstreamRequest) -> bytes:
        if threading.current_thread() is not self._place:
            return self._renewed()
        with self._asking(self.request) as watch:
            response = self.view(self.request, *self.args, **self.kwargs)
            if callable(getattr(response, "render", None)):
                response = response.render()
            return self._taken(response, watch)

    async def acall(self, request: UpstreamRequest) -> bytes:
        if asyncio.current_task() is not self._place:
            return await self._arenewed()
        with self._asking(self.request) as watch:
            response = await self.arun(self.request)
            return self._taken(response, watch)

    async def arun(self, request: HttpRequest | None = None) -> Any:
        """What the view answers the request, or another one in its place."""
        request = request or self.request
        response = self.view(request, *self.args, **self.kwargs)
        if inspect.isawaitable(response):
            response = await response
        if callable(getattr(response, "render", None)):
            # Templates ask the database as they like.
            response = await sync_to_async(response.render)()
        return response

    @contextmanager
    def _asking(self, request: HttpRequest) -> Iterator[Watch]:
        """Watch the request, and see to it that an error reaches this caller alone."""
        watch = Watch(request, strict=self.strict)
        try:
            with self.running():
                yield watch
        except (Unshared, ViewFailed):
            raise
        except Exception as error:
            self.error = error
            if isinstance(error, UpstreamError) and self.plan and self.plan.fallback:
                raise ViewFailed("the view's provider failed", status=error.status) from None
            raise Unshared(error) from None
        finally:
            watch.release()

    def _taken(self, response: Any, watch: Watch) -> bytes:
        """The payload of the view's answer."""
        self.response = response
        if not isinstance(response, HttpResponseBase):
            raise Unshared  # whatever it is, the framework says what is wrong with it
        if response.status_code >= 500 and self.plan and self.plan.fallback:
            raise ViewFailed("the view failed", status=response.status_code)
        if response.streaming:
            self.private = watch.found()
            raise Unshared
        reason = answers.refusal(response, self.scope, self.vary_on) or watch.found()
        if reason:
            self.tell(reason)
            return refused(reason)
        assert isinstance(response, HttpResponse)
        return answers.whole(response)

    def tell(self, reason: str) -> None:
        """Log, the first time, that the view's answers are not stored, if that can be mended."""
        if not reason.startswith("its status"):
            events.warn_once("view_refused", "%s: not stored: %s.", self.view_name, reason)

    # --- in the background, for visitors to come ---

    def _renewed(self) -> bytes:
        request = _detached(self.request)
        watch = Watch(request, strict=self.strict)
        with (
            self.running(),
            translation.override(self.language),
            timezone.override(self.time_zone),
        ):
            response = self.view(request, *self.args, **self.kwargs)
            if callable(getattr(response, "render", None)):
                response = response.render()
            lines = _lines(response)
        return self._rewritten(response, lines, watch)

    async def _arenewed(self) -> bytes:
        request = _detached(self.request)
        watch = Watch(request, strict=self.strict)
        with self.running():
            response = await self.arun(request)
            lines = await _alines(response)
        return self._rewritten(response, lines, watch)

    def _rewritten(self, response: Any, lines: list[bytes], watch: Watch) -> bytes:
        reason = (
            "a file"
            if isinstance(response, FileResponse)
            else answers.refusal(response, self.scope, self.vary_on) or watch.found()
        )
        response.close()
        if reason:
            self.tell(reason)
            raise Unshared(ViewFailed(reason))
        if response.streaming:
            return b"\n".join((answers.head_of_stream(response), *lines))
        return answers.whole(response)


def _detached(request: HttpRequest) -> HttpRequest:
    """A request to run the view with once more, when the visitor has been served: what the view
    does to the session or says in messages reaches nobody."""
    copied: Any = copy.copy(request)
    session = getattr(request, "session", None)
    if session is not None:
        copied.session = type(session)(session.session_key)
    if hasattr(request, "_messages"):
        from django.contrib.messages.storage import default_storage

        copied._messages = default_storage(copied)
    copied.META = {**request.META}
    return copied  # type: ignore[no-any-return]


def _lines(response: Any) -> list[bytes]:
    if not response.streaming or isinstance(response, FileResponse):
        return []
    if response.is_async:
        return async_to_sync(_alines)(response)
    return [line(chunk) for chunk in response.streaming_content]


async def _alines(response: Any) -> list[bytes]:
    if not response.streaming or isinstance(response, FileResponse):
        return []
    content: AsyncIterator[bytes] = response.streaming_content
    if not response.is_async:
        return await sync_to_async(lambda: _lines(response))()
    return [line(chunk) async for chunk in content]
