"""Who calls: from the token of a request to its holder, without a query on most requests."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from time import monotonic
from typing import Any, Final

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.signals import setting_changed
from django.db import DatabaseError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.module_loading import import_string

from llmcache import conf, events
from llmcache.endpoint.errors import Refused
from llmcache.models import VirtualKey
from llmcache.request_headers import header
from llmcache.virtual_keys import Holder, hashed

_MOST: Final = 10_000
_OUTAGE: Final = 300.0
"""Seconds since the database called a key good, for which it stays so while that is away."""
_NOTED_EVERY: Final = 60.0
"""Seconds between two notes of when a key was used last."""


class _Known:
    """What this process has found out lately: for FLUSH_INTERVAL, so that a key that is revoked
    opens nothing any more by then."""

    def __init__(self) -> None:
        self.forget()

    def forget(self, **kwargs: Any) -> None:
        self._lock = threading.Lock()
        self._holders: dict[str, tuple[Holder | None, float, float]] = {}
        self._noted: dict[int, float] = {}

    def get(self, digest: str) -> tuple[Holder | None] | None:
        found = self._holders.get(digest)
        if found is None or found[1] <= monotonic():
            return None
        return (found[0],)

    def put(self, digest: str, holder: Holder | None) -> None:
        now = monotonic()
        with self._lock:
            if len(self._holders) >= _MOST:
                self._holders.clear()  # whoever tries many tokens makes us look again
            self._holders[digest] = holder, now + conf.config().flush_interval, now

    def keep(self, digest: str) -> Holder | None:
        """The holder of a key that cannot be looked up now, if it was good not long ago."""
        now = monotonic()
        with self._lock:
            holder, _, checked = self._holders.get(digest, (None, 0.0, 0.0))
            if holder is None or now - checked >= _OUTAGE:
                return None
            self._holders[digest] = holder, now + conf.config().flush_interval, checked
            return holder

    def is_to_be_noted(self, pk: int) -> bool:
        now = monotonic()
        with self._lock:
            if now - self._noted.get(pk, -_NOTED_EVERY) < _NOTED_EVERY:
                return False
            self._noted[pk] = now
            return True


_known = _Known()
os.register_at_fork(after_in_child=_known.forget)
setting_changed.connect(_known.forget, dispatch_uid="llmcache.endpoint.holders")
forget = _known.forget


def token_of(request: HttpRequest) -> str:
    """The token that a request brings, as either SDK sends it; "" for none."""
    scheme, _, token = (header(request, "Authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return (header(request, "X-Api-Key") or "").strip()


def _own_rule() -> Any:
    rule = conf.config().endpoint_auth
    return import_string(rule) if isinstance(rule, str) else rule


def find(request: HttpRequest) -> Holder:
    """Who makes a request.

    Raises:
        Refused: nobody who may.
    """
    rule = _own_rule()
    if rule is not None:
        return _checked(rule(request))
    digest = _digest_of(request)
    found = _known.get(digest)
    return _checked(_looked_up(digest) if found is None else found[0])


async def afind(request: HttpRequest) -> Holder:
    """As `find`; the database is asked in a thread."""
    rule = _own_rule()
    if rule is not None:
        if iscoroutinefunction(rule):
            return _checked(await rule(request))
        return _checked(await sync_to_async(rule, thread_sensitive=True)(request))
    digest = _digest_of(request)
    found = _known.get(digest)
    if found is None:
        return _checked(await sync_to_async(_looked_up, thread_sensitive=True)(digest))
    return _checked(found[0])


def _digest_of(request: HttpRequest) -> str:
    token = token_of(request)
    if not token:
        raise Refused(401, "No API key: send one as 'Authorization: Bearer ...'.", "no_api_key")
    return hashed(token)


def _checked(holder: Any) -> Holder:
    if not isinstance(holder, Holder) or holder.has_ended():
        raise Refused(401, "This API key is not valid.", "invalid_api_key")
    return holder


def _looked_up(digest: str) -> Holder | None:
    try:
        row = VirtualKey.objects.filter(digest=digest, is_active=True).first()
    except DatabaseError as error:
        events.warn_once("key_error", "Virtual keys cannot be looked up: %s", error)
        kept = _known.keep(digest)
        if kept is not None:
            return kept
        raise Refused(503, "The keys cannot be checked just now.", "keys_unavailable") from error
    holder = None if row is None else row.holder()
    _known.put(digest, holder)
    if row is not None and _known.is_to_be_noted(row.pk):
        _note(row)
    return holder


def _note(row: VirtualKey) -> None:
    """Note when a key was used; a database that goes away meanwhile costs only that."""
    now = timezone.now()
    if row.last_used is None or row.last_used < now - timedelta(seconds=_NOTED_EVERY):
        try:
            VirtualKey.objects.filter(pk=row.pk).update(last_used=now)
        except DatabaseError as error:
            events.warn_once("key_error", "The use of a virtual key is not noted: %s", error)
