"""Whose answer it is: the scope of a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string

from llmcache import conf

Rule = str | Callable[[HttpRequest], str | None] | None


def rule_in_force(given: Any, unset: object) -> Rule:
    """The decorator's own rule or, where it has none, that of the settings."""
    rule: Rule = conf.config().request_scope if given is unset else given
    if isinstance(rule, str) and rule not in ("user", "session"):
        return import_string(rule)  # type: ignore[no-any-return]
    return rule


def of(request: HttpRequest, rule: Rule) -> str | None:
    """The scope of a request; None where its answer may serve everybody.

    Raises:
        ImproperlyConfigured: the site's own function returned something else.
    """
    if rule is None:
        return None
    if callable(rule):
        return _checked(rule(request))
    user = getattr(request, "user", None) if rule == "user" else None
    if user is not None and user.is_authenticated:
        return f"user:{user.pk}"
    return _visitor(request)


async def aof(request: HttpRequest, rule: Rule) -> str | None:
    """As `of`, without a query on the event loop."""
    if rule == "user":
        find = getattr(request, "auser", None)
        user = await find() if find is not None else getattr(request, "user", None)
        if user is not None and user.is_authenticated:
            return f"user:{user.pk}"
        return _visitor(request)
    return of(request, rule)


def _visitor(request: HttpRequest) -> str | None:
    """Who asks without having logged in: by the session that the request names, or by the
    credentials that it brings. A hash, as either would let its reader in."""
    session = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if session:
        return f"session:{_hash(session)}"
    credentials = request.headers.get("Authorization")
    return f"authorization:{_hash(credentials)}" if credentials else None


def _hash(secret: str) -> str:
    return salted_hmac("llmcache.views.scope", secret).hexdigest()[:32]


def _checked(scope: object) -> str | None:
    if scope is None or (isinstance(scope, str) and scope):
        return scope
    raise ImproperlyConfigured(
        f"The scope of a request must be a text that is not empty, or None for answers that all "
        f"share, not {scope!r}."
    )
