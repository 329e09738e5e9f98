"""Whose a view's answer is: the user's, the visitor's session's, everybody's, or as a function
says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import import_string

from llmcache import conf
from llmcache.exceptions import InvalidRequest
from llmcache.request_headers import header

Rule = str | Callable[[Any], Any] | None
"""What a decorator's `scope` or REQUEST_SCOPE can be."""

UNSET: Final[Any] = object()
"""The decorator was told nothing: REQUEST_SCOPE holds."""
CREDENTIALS: Final = ("Authorization", "X-Api-Key")
"""Headers by which clients without a session say who they are."""
_SALT: Final = "llmcache.views"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose the answer to one request is.

    Attributes:
        value: part of the key; None where nobody is named.
        shared: whether the site has said that all visitors share the answers.
        vary: the headers that were looked at.
        private: whether caches on the way to the visitor must not share the answer either.
    """

    value: str | None
    shared: bool
    vary: tuple[str, ...]
    private: bool


_SHARED: Final = Scope(None, True, (), False)


def check(rule: object) -> None:
    """Raise InvalidRequest, unless this can be a view's `scope`."""
    if rule is UNSET or rule is None or rule in ("user", "session") or callable(rule):
        return
    if isinstance(rule, str) and "." in rule:
        return
    raise InvalidRequest(
        'scope must be "user", "session", None (all visitors share the answers), a function of '
        f"the request that returns a string or None, or its dotted path, not {rule!r}."
    )


def of(rule: Rule, request: HttpRequest) -> Scope:
    """Whose the answer is. Errors of the site's own function are raised as they are."""
    rule = conf.config().request_scope if rule is UNSET else rule
    if rule is None:
        return _SHARED
    if rule == "session":
        return _by_cookie(_session(request))
    if rule == "user":
        return _by_user(_user_id(request), request)
    function = import_string(rule) if isinstance(rule, str) else rule
    if iscoroutinefunction(function):
        return _by_function(function, async_to_sync(function)(request))
    return _by_function(function, function(request))


async def aof(rule: Rule, request: HttpRequest) -> Scope:
    """As `of`. A plain function of the site's runs in the thread for sync code."""
    rule = conf.config().request_scope if rule is UNSET else rule
    if rule is None or rule == "session":
        return of(rule, request)
    if rule == "user":
        return _by_user(await _auser_id(request), request)
    function = import_string(rule) if isinstance(rule, str) else rule
    if iscoroutinefunction(function):
        return _by_function(function, await function(request))
    return _by_function(function, await sync_to_async(function)(request))


def _by_function(function: Callable[..., Any], value: object) -> Scope:
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(
            f"The scope function {getattr(function, '__qualname__', function)!r} must return a "
            f"string or None, not {value!r}."
        )
    # What it looked at is its own affair: no cache on the way may take two visitors for one.
    return Scope(value or None, False, ("Cookie", *CREDENTIALS), True)


def _by_cookie(session: str | None) -> Scope:
    return Scope(session, False, ("Cookie",), session is not None)


def _by_user(user: str | None, request: HttpRequest) -> Scope:
    """The user or else the session, and the credentials in the request's headers beside them: who
    sends another's token gets another's answer."""
    who = [user or _session(request)]
    who += [
        f"{name.lower()}:{_hashed(value)}"
        for name in CREDENTIALS
        if (value := header(request, name)) is not None
    ]
    value = " ".join(part for part in who if part) or None
    return Scope(value, False, ("Cookie", *CREDENTIALS), value is not None)


def _session(request: HttpRequest) -> str | None:
    cookie = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    return f"session:{_hashed(cookie)}" if cookie else None


def _hashed(secret: str) -> str:
    return hashed(secret)[:32]


def hashed(secret: str) -> str:
    """A keyed hash of something that must not be seen in a key's material."""
    return salted_hmac(_SALT, secret, algorithm="sha256").hexdigest()


def _user_id(request: HttpRequest) -> str | None:
    user = getattr(request, "user", None)
    return f"user:{user.pk}" if user is not None and user.is_authenticated else None


async def _auser_id(request: HttpRequest) -> str | None:
    user = getattr(request, "user", None)
    if isinstance(user, SimpleLazyObject):
        # Not asked for yet. What somebody has put there instead (an impersonated user, say) counts.
        if hasattr(request, "auser"):
            user = await request.auser()
        else:
            return await sync_to_async(_user_id)(request)
    return f"user:{user.pk}" if user is not None and user.is_authenticated else None
