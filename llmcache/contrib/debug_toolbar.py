"""A panel of django-debug-toolbar: each call to a language model that a request has made.

    DEBUG_TOOLBAR_PANELS = [..., "llmcache.contrib.debug_toolbar.LLMCachePanel"]

The panel listens only while a request that it belongs to is under way. It holds no prompt, no
answer and no error's text.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import urlencode
from weakref import WeakSet

from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from llmcache.calls import Call
from llmcache.outcome import FAILED, CacheInfo
from llmcache.packages import require_package
from llmcache.signals import call_failed, call_finished
from llmcache.text import clean

try:
    from debug_toolbar.panels import Panel
except ImportError:
    require_package("The panel LLMCachePanel", "debug_toolbar", "debug-toolbar")
    raise

LONGEST: Final = 200
"""Characters of a text in a row."""

_rows: Final[ContextVar[list[dict[str, Any]] | None]] = ContextVar(
    "llmcache.contrib.debug_toolbar", default=None
)
"""The rows of the request that this thread or task works for; None where no panel is on."""
_lock: Final = threading.Lock()


class LLMCachePanel(Panel):
    """A row for each call of the request, and their totals."""

    is_async = True
    template = "llmcache/debug_toolbar/calls.html"
    nav_title = gettext_lazy("LLM calls")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._own: list[dict[str, Any]] = []
        self._outer: list[dict[str, Any]] | None = None

    @property
    def nav_subtitle(self) -> str:
        stats = self.get_stats()  # type: ignore[no-untyped-call]
        return _in_words(stats.get("totals", {}))

    @property
    def title(self) -> str:
        return _("LLM calls: %(totals)s") % {"totals": self.nav_subtitle}

    def enable_instrumentation(self) -> None:
        with _lock:
            if self in _on:
                return
            if not _on:
                call_finished.connect(_note_finished)
                call_failed.connect(_note_failed)
            _on.add(self)
        self._outer = _rows.get()
        _rows.set(self._own)

    def disable_instrumentation(self) -> None:
        with _lock:
            if self not in _on:
                return
            _on.discard(self)
            if not _on:
                call_finished.disconnect(_note_finished)
                call_failed.disconnect(_note_failed)
        _rows.set(self._outer)

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:
        rows = [{**row, "url": _url(row["key"])} for row in self._own]
        stats = {"calls": rows, "totals": _totals(rows)}
        self.record_stats(stats)  # type: ignore[no-untyped-call]

    def generate_server_timing(self, request: HttpRequest, response: HttpResponse) -> None:
        ms = _totals(self._own)["ms"]
        self.record_server_timing("calls", self.title, ms)  # type: ignore[no-untyped-call]


_on: Final[WeakSet[LLMCachePanel]] = WeakSet()
"""The panels that listen. Weak: a request that broke off before the view leaves its panel here."""


def _note_finished(*, call: Call, cache: CacheInfo, **kwargs: object) -> None:
    rows = _rows.get()
    if rows is None:
        return
    rows.append(
        {
            "call_type": call.call_type,
            "streamed": call.stream,
            "model": clean(call.model, LONGEST),
            "outcome": cache.outcome,
            "is_hit": cache.hit,
            "alias": cache.alias,
            "layer": cache.layer,
            "age": cache.age if cache.hit else None,
            "ms": cache.latency * 1000,
            "saved_tokens": cache.saved_tokens,
            "saved_cost": cache.saved_cost if cache.saved_tokens else None,
            "key": cache.key or "",
            "reason": clean(_without_details(cache.reason), LONGEST),
        }
    )


def _note_failed(*, call: Call, error: BaseException, **kwargs: Any) -> None:
    rows = _rows.get()
    if rows is None:
        return
    status = getattr(error, "status", None)
    name = type(error).__name__
    rows.append(
        {
            "call_type": call.call_type,
            "streamed": call.stream,
            "model": clean(call.model, LONGEST),
            "outcome": FAILED,
            "is_hit": False,
            "alias": kwargs.get("alias", ""),
            "layer": "",
            "age": None,
            "ms": kwargs.get("seconds", 0.0) * 1000,
            "saved_tokens": 0,
            "saved_cost": None,
            "key": "",
            "reason": name if status is None else f"{name} ({status})",
        }
    )


def _without_details(reason: str) -> str:
    """A reason without the text of an error in it, which may quote what was sent."""
    return reason if reason.startswith("not stored:") else reason.partition(":")[0]


def _url(key: str) -> str:
    """Where the admin shows the entry; "" where it does not."""
    if not key:
        return ""
    try:
        # Not the entry's own page, as its number takes a query, and its row may come later.
        return f"{reverse('admin:llmcache_entry_changelist')}?{urlencode({'q': key})}"
    except NoReverseMatch:
        return ""


def _totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    costs = [row["saved_cost"] for row in rows if row["saved_cost"] is not None]
    return {
        "calls": len(rows),
        "hits": sum(row["is_hit"] for row in rows),
        "ms": sum(row["ms"] for row in rows),
        "saved_tokens": sum(row["saved_tokens"] for row in rows),
        "saved_cost": sum(costs) if costs else None,
    }


def _in_words(totals: dict[str, Any]) -> str:
    number, hits = totals.get("calls", 0), totals.get("hits", 0)
    calls_text = ngettext("%(number)d call", "%(number)d calls", number) % {"number": number}
    hits_text = ngettext("%(number)d hit", "%(number)d hits", hits) % {"number": hits}
    return f"{calls_text}, {hits_text}"
