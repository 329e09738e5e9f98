"""Filters of the lists, none of which reads a whole table to know its choices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.views.main import (
    ALL_VAR,
    ERROR_FLAG,
    ORDER_VAR,
    PAGE_VAR,
    SEARCH_VAR,
    ChangeList,
)
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from llmcache import conf
from llmcache.admin.formats import visible
from llmcache.calls import ALL_KINDS
from llmcache.exceptions import InvalidRequest
from llmcache.models import HourlyStat
from llmcache.outcome import FAILED, OUTCOMES
from llmcache.outcome_names import named
from llmcache.text import clean

RECENT: Final = timedelta(days=31)
COLD: Final = timedelta(days=7)
_DIGEST: Final = re.compile("[0-9a-f]{4,64}")  # "ada" is a model
_EQUAL: Final = ("alias", "kind", "model", "namespace")
_OTHER: Final = ("state", SEARCH_VAR, ORDER_VAR, PAGE_VAR, ALL_VAR, ERROR_FLAG, "_facets")

_STATES: Final = {
    "live": _("within its ttl"),
    "expired": _("expired"),
    "pinned": _("pinned"),
    "cold": _("not hit for a week"),
}
_NAMES: Final = {
    "alias": _("store"),
    "kind": _("call type"),
    "model": _("model"),
    "namespace": _("namespace"),
    "with_digest_prefix": _("digest begins with"),
    "model__exact": _("model"),
}


class ColumnFilter(admin.SimpleListFilter):
    """Rows with one value in a column."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = clean(self.value())
        return queryset.filter(**{self.parameter_name or "": value}) if value else queryset


class AliasFilter(ColumnFilter):
    """The aliases of the settings."""

    title = _("store")
    parameter_name = "alias"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(alias, alias) for alias in conf.backends()]


class KindFilter(ColumnFilter):
    """The families of calls."""

    title = _("call type")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind, kind) for kind in ALL_KINDS]


class OutcomeFilter(ColumnFilter):
    """How calls can end."""

    title = _("outcome")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(outcome, named(outcome)) for outcome in (*OUTCOMES, FAILED)]


class ModelFilter(ColumnFilter):
    """The models asked most in the last month, as the figures know them."""

    title = _("model")
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        recent = HourlyStat.objects.filter(hour__gte=timezone.now() - RECENT).exclude(model="")
        names = recent.order_by("model").values_list("model", flat=True).distinct()[:30]
        return [(name, visible(name)) for name in names]


class NamespaceFilter(ColumnFilter):
    """A namespace, written by hand: there may be one for every customer."""

    title = _("namespace")
    parameter_name = "namespace"
    template = "admin/llmcache/text_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return ()

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """What the form must send along, so that it keeps the other filters."""
        others = changelist.get_filters_params().items()
        yield {
            "value": self.value() or "",
            "others": [(n, v[-1]) for n, v in others if n != self.parameter_name],
            "query": changelist.query,
        }


class StateFilter(admin.SimpleListFilter):
    """Where entries are in their life."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(_STATES.items())

    def queryset(self, request: HttpRequest, queryset: Any) -> QuerySet[Any]:
        questions = {
            "live": queryset.live,
            "expired": queryset.expired,
            "pinned": queryset.pinned,
            "cold": lambda: queryset.cold(COLD),
        }
        ask = questions.get(self.value() or "", lambda: queryset)
        found: QuerySet[Any] = ask()
        return found


class AgeFilter(admin.SimpleListFilter):
    """Rows of the last while."""

    title = _("time")
    parameter_name = "since"
    column = "created"

    _PERIODS: Final = {
        "hour": timedelta(hours=1),
        "day": timedelta(days=1),
        "week": timedelta(days=7),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("hour", _("the last hour")),
            ("day", _("the last day")),
            ("week", _("the last week")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        period = self._PERIODS.get(self.value() or "")
        if period is None:
            return queryset
        return queryset.filter(**{f"{self.column}__gte": timezone.now() - period})


class SeenFilter(AgeFilter):
    """Rows seen in the last while."""

    title = _("last seen")
    column = "seen"


def chosen(parameters: Mapping[str, str]) -> dict[str, Any]:
    """The filters of the list of entries as `llmcache.jobs.evict_matching` takes them.

    Args:
        parameters: the list's query, as a QueryDict.

    Raises:
        InvalidRequest: the list was narrowed by hand, in a way that would be lost here.
    """
    unknown = sorted(parameters.keys() - {*_EQUAL, *_OTHER})
    if unknown:
        raise InvalidRequest(
            _("“Evict all that match” does not know the filter %(name)s: use the list's own.")
            % {"name": visible(unknown[0])[:100]}
        )
    given = {name: clean(parameters.get(name)) for name in _EQUAL}
    filters: dict[str, Any] = {name: value for name, value in given.items() if value}
    state = parameters.get("state")
    if state in ("live", "expired", "pinned"):
        filters[state] = True
    elif state == "cold":
        filters["cold"] = COLD.total_seconds()
    search = parameters.get(SEARCH_VAR, "").strip()
    return {**filters, **search_filters(search)} if search else filters


def in_words(chosen: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Filters, as `chosen` gives them, by name and value for people."""
    return [
        (_("state"), _STATES[name]) if name in _STATES else (_NAMES[name], visible(str(value)))
        for name, value in chosen.items()
    ]


def search_filters(search: str) -> dict[str, Any]:
    """What a search for entries means: a digest's beginning, or a model's whole name."""
    text = clean(search).strip()
    if _DIGEST.fullmatch(text.lower()):
        return {"with_digest_prefix": text.lower()}
    return {"model__exact": text}
