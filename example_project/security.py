"""A strict content security policy: scripts and styles only from this site's own files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; form-action 'self'"


@sync_and_async_middleware
def content_security_policy(get_response: Callable[[HttpRequest], Any]) -> Callable[..., Any]:
    """Middleware that sends the policy with every response."""

    def protect(response: HttpResponseBase) -> HttpResponseBase:
        response["Content-Security-Policy"] = POLICY
        return response

    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            answer: Awaitable[HttpResponseBase] = get_response(request)
            return protect(await answer)

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponseBase:
        return protect(get_response(request))

    return synchronous
