"""What a view looks at and leaves behind in its request, as far as it makes the answer private."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

_CSRF: Final = "CSRF_COOKIE_NEEDS_UPDATE"
_MESSAGES: Final = CookieStorage.cookie_name
_NAME_SCOPE: Final = (
    "and nothing says whose the answer is: give the decorator a scope, or scope=None if all "
    "visitors may share what it answers"
)


class Watch:
    """Watches a request while its view runs, and then gives the request back as it was.

    Args:
        strict: whether to refuse what depends on who asks, because the key does not say who does.
    """

    def __init__(self, request: HttpRequest, *, strict: bool) -> None:
        self.request = request
        self.strict = strict
        self._seen: list[str] = []
        self._session = getattr(request, "session", None)
        self._accessed = bool(getattr(self._session, "accessed", False))
        self._modified = bool(getattr(self._session, "modified", False))
        self._set_session(accessed=False, modified=False)
        self._token_used = request.META.pop(_CSRF, False)
        messages = getattr(request, "_messages", None)
        self._messages = messages
        self._messages_before = self._messages_now()
        self._replaced: dict[str, tuple[Any, Any]] = {}
        if strict:
            self._put_watchers()

    def _set_session(self, *, accessed: bool, modified: bool) -> None:
        if self._session is not None:
            self._session.accessed = accessed
            self._session.modified = modified

    def _messages_now(self) -> tuple[object, object]:
        storage = self._messages
        return getattr(storage, "added_new", False), getattr(storage, "used", False)

    def _put_watchers(self) -> None:
        request: Any = self.request
        given = request.__dict__
        if "user" in given:
            user = given["user"]
            self._replace("user", SimpleLazyObject(lambda: self._saw("request.user", user)))
        if "auser" in given:
            auser = given["auser"]

            async def watched() -> Any:
                return self._saw("request.user", await auser())

            self._replace("auser", watched)
        self._replace("COOKIES", _Cookies(request.COOKIES, self))

    def _replace(self, name: str, value: object) -> None:
        self._replaced[name] = getattr(self.request, name), value
        setattr(self.request, name, value)

    def _saw(self, what: str, value: Any) -> Any:
        self.saw(what)
        return value

    def saw(self, what: str) -> None:
        """Note that the view has looked at something that tells who asks."""
        self._seen.append(what)

    def found(self) -> str:
        """Why the answer is private as far as the request tells; "" if it is not."""
        if self.request.META.get(_CSRF):
            return "it uses a CSRF token"
        if self._messages_now() != self._messages_before:
            return "it adds or shows a message"
        if self._session is not None and self._session.modified:
            return "the view changed the session"
        if self.strict:
            if self._seen:
                return f"the view looked at {self._seen[0]} {_NAME_SCOPE}"
            if self._session is not None and self._session.accessed:
                return f"the view looked at request.session {_NAME_SCOPE}"
        return ""

    def release(self) -> None:
        """Give the request back, with all that the middleware above must know noted in it."""
        session = self._session
        if session is not None:
            self._set_session(
                accessed=session.accessed or self._accessed,
                modified=session.modified or self._modified,
            )
        if self._token_used:
            self.request.META[_CSRF] = self._token_used
        for name, (before, watcher) in self._replaced.items():
            if self.request.__dict__.get(name) is watcher:  # a login puts a user of its own there
                setattr(self.request, name, before)
        self._replaced.clear()


class _Cookies(dict[str, str]):
    """A request's cookies, which tell when they are looked at. To find that one is absent counts
    too: the next visitor may have it."""

    def __init__(self, cookies: dict[str, str], watch: Watch) -> None:
        super().__init__(cookies)
        self._watch = watch

    def _note(self, name: object) -> None:
        # Django's own pages look for these two; what comes of them is watched elsewhere.
        if super().__contains__(name) or name not in (_MESSAGES, settings.CSRF_COOKIE_NAME):
            self._watch.saw(f"the cookie {name!r}")


def _noting(method: str, *, of_one: bool = False) -> Callable[..., Any]:
    """A method of `dict` that first notes the cookie that is asked for, or that all are."""
    original = getattr(dict, method)

    @wraps(original)
    def noting(self: _Cookies, *args: Any) -> Any:
        if of_one and args:
            self._note(args[0])
        else:
            self._watch.saw("the cookies")
        return original(self, *args)

    return noting


for _method in ("__getitem__", "__contains__", "get", "pop", "setdefault"):
    setattr(_Cookies, _method, _noting(_method, of_one=True))
for _method in (
    *("__iter__", "__reversed__", "__len__", "keys", "values", "items", "popitem"),
    *("copy", "__or__", "__ror__", "__ior__", "__eq__", "__ne__", "__repr__", "__reduce_ex__"),
):
    setattr(_Cookies, _method, _noting(_method))
