"""One request to the endpoint, from its first byte to its answer: sync under WSGI, async under
ASGI."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from llmcache import aclient, caching, client, conf, state
from llmcache.caching import Cache
from llmcache.calls import Call
from llmcache.endpoint import answering, errors, holders, limits, reading
from llmcache.endpoint.errors import Refused
from llmcache.exceptions import InvalidRequest, NotCached, UpstreamError
from llmcache.http import cache_status
from llmcache.keys import Uncacheable
from llmcache.outcome import CacheInfo
from llmcache.request_headers import header
from llmcache.response import Response
from llmcache.virtual_keys import Holder

logger = logging.getLogger("llmcache")

_HEADERS_OF_BROWSERS: Final = (
    "authorization, content-type, cache-control, x-api-key, anthropic-version, anthropic-beta, "
    "anthropic-dangerous-direct-browser-access, openai-beta, openai-organization, openai-project, "
    "x-stainless-arch, x-stainless-lang, x-stainless-os, x-stainless-package-version, "
    "x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version, "
    "x-stainless-timeout"
)


class Door:
    """One path of the endpoint.

    Args:
        method: the only one that it answers.
        anthropic: whether its errors are in Anthropic's format; None for what the request speaks.
    """

    def __init__(self, method: str, *, anthropic: bool | None = False) -> None:
        self.method = method
        self._anthropic = anthropic

    def answer(self, request: HttpRequest, holder: Holder, **captured: str) -> HttpResponseBase:
        """The answer to somebody who may ask.

        Args:
            captured: the parts of the path that are named.

        Raises:
            Refused: an answer that is an error.
        """
        raise NotImplementedError

    async def aanswer(
        self, request: HttpRequest, holder: Holder, **captured: str
    ) -> HttpResponseBase:
        """As `answer`; by default that, in the thread where Django's queries are made."""
        return await sync_to_async(self.answer, thread_sensitive=True)(request, holder, **captured)

    def view(self) -> Callable[..., Any]:
        """The view of this path where no event loop runs."""

        def view(request: HttpRequest, **captured: str) -> HttpResponseBase:
            return self._serve(request, captured)

        return _open(view)

    def aview(self) -> Callable[..., Any]:
        """The view of this path on an event loop."""

        async def view(request: HttpRequest, **captured: str) -> HttpResponseBase:
            return await self._aserve(request, captured)

        return _open(view)

    def _serve(self, request: HttpRequest, captured: dict[str, str]) -> HttpResponseBase:
        try:
            if request.method == "OPTIONS":
                return self._finished(request, _preflight(request))
            self._check_method(request)
            holder = holders.find(request)
            limits.admit(holder)
            response = self.answer(request, holder, **captured)
        except Exception as error:
            response = self._failed(request, error)
        return self._finished(request, response)

    async def _aserve(self, request: HttpRequest, captured: dict[str, str]) -> HttpResponseBase:
        try:
            if request.method == "OPTIONS":
                return self._finished(request, _preflight(request))
            self._check_method(request)
            holder = await holders.afind(request)
            await limits.aadmit(holder)
            response = await self.aanswer(request, holder, **captured)
        except Exception as error:
            response = self._failed(request, error)
        return self._finished(request, response)

    def _check_method(self, request: HttpRequest) -> None:
        if request.method != self.method:
            text = f"Only {self.method} is answered here."
            raise Refused(405, text, "method_not_allowed", {"Allow": self.method})

    def is_anthropic(self, request: HttpRequest) -> bool:
        """Whether the request comes from Anthropic's SDK, as far as one can tell."""
        if self._anthropic is None:
            return header(request, "Anthropic-Version") is not None
        return self._anthropic

    def _failed(self, request: HttpRequest, error: Exception) -> HttpResponseBase:
        headers: dict[str, str] = {}
        if isinstance(error, UpstreamError):
            refused = errors.of_upstream(error)
        elif isinstance(error, NotCached):
            refused = Refused(504, "Nothing is cached for this request.", "not_cached")
            headers = cache_status.not_cached(error.digest)
        elif isinstance(error, (InvalidRequest, Uncacheable)):
            refused = Refused(400, str(error))
        elif isinstance(error, Refused):
            refused = error
        else:
            logger.exception("The endpoint failed")
            refused = Refused(500, "The server failed; it has written down why.", "server_error")
        response = errors.response_of(refused, anthropic=self.is_anthropic(request))
        for name, value in headers.items():
            response.headers[name] = value
        return response

    def _finished(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """The answer with what every answer of the endpoint says."""
        identity = f"req_{secrets.token_hex(16)}"
        response.headers["X-Request-Id"] = identity
        if self.is_anthropic(request):
            response.headers["Request-Id"] = identity
        response.headers.setdefault("Cache-Control", "no-store")
        _allow_origin(request, response)
        return response


def _open(view: Callable[..., Any]) -> Callable[..., Any]:
    """A view that asks for a key and nothing else: no cookie's token, no signed-in user, and no
    transaction, which async views cannot have and which would last as long as the provider takes.
    """
    view.csrf_exempt = True  # type: ignore[attr-defined]
    view.login_required = False  # type: ignore[attr-defined]
    return transaction.non_atomic_requests(view)


def _origin(request: HttpRequest) -> str | None:
    """The origin that a browser may be told of; None where the settings name none that fits."""
    allowed = conf.config().endpoint_allowed_origins
    origin = header(request, "Origin") if allowed else None
    if origin is None:
        return None
    if "*" in allowed:
        return "*"
    return origin if origin in allowed else None


def _allow_origin(request: HttpRequest, response: HttpResponseBase) -> None:
    if conf.config().endpoint_allowed_origins:
        patch_vary_headers(response, ["Origin"])
    origin = _origin(request)
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = (
            "age, cache-status, retry-after, x-request-id, x-llmcache-outcome, x-llmcache-key, "
            "x-llmcache-saved-tokens"
        )


def _preflight(request: HttpRequest) -> HttpResponseBase:
    if _origin(request) is None:
        refused = Refused(405, "Browsers of other sites may not ask here.", "no_cors")
        return errors.response_of(refused, anthropic=False)
    return HttpResponse(
        status=204,
        headers={
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": _HEADERS_OF_BROWSERS,
            "Access-Control-Max-Age": "600",
        },
    )


def store_of(holder: Holder) -> Cache | None:
    """The cache of a holder's calls."""
    return state.current() if holder.alias is None else caching.for_alias(holder.alias)


def _cost(holder: Holder, call: Call, info: CacheInfo, events: int | None) -> float | None:
    """What a call has cost, if anybody counts that; an estimate where its stream ended after so
    many events, too soon."""
    if holder.budget is None:
        return None
    if events is None or info.hit:
        return info.cost
    return limits.estimated(call, events)


class CallDoor(Door):
    """A path that makes one kind of call."""

    def __init__(self, kind: str) -> None:
        super().__init__("POST", anthropic=kind == "messages")
        self._kind = kind

    def answer(self, request: HttpRequest, holder: Holder, **captured: str) -> HttpResponseBase:
        call = reading.call_of(request, self._kind, holder, is_async=False)
        found = client.run(call, store_of(holder))

        def ended(info: CacheInfo, events: int | None = None) -> None:
            limits.charge(holder, _cost(holder, call, info, events))

        if not isinstance(found, Response):
            return answering.streamed(call, found, ended)
        ended(found.cache)
        return answering.whole(call, found)

    async def aanswer(
        self, request: HttpRequest, holder: Holder, **captured: str
    ) -> HttpResponseBase:
        call = reading.call_of(request, self._kind, holder, is_async=True)
        found = await aclient.run(call, store_of(holder))

        async def ended(info: CacheInfo, events: int | None = None) -> None:
            await limits.acharge(holder, _cost(holder, call, info, events))

        if not isinstance(found, Response):
            return answering.astreamed(call, found, ended)
        await ended(found.cache)
        return answering.whole(call, found)
