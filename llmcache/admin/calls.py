"""The log of calls and the log of evictions: tables to look at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from llmcache import outcome_names
from llmcache.admin import filters, formats
from llmcache.admin.base import ReadOnlyAdmin, text_column
from llmcache.admin.paging import CappedPaginator
from llmcache.models import Call, Eviction


class CallAdmin(ReadOnlyAdmin):
    """Calls, the latest first."""

    list_display = (
        "created",
        "shown_outcome",
        "shown_model",
        "kind",
        "shown_alias",
        "shown_caller",
        "shown_latency",
        "shown_tokens",
        "shown_cost",
        "shown_saved",
        "entry_link",
        "shown_reason",
    )
    list_filter = (
        filters.AgeFilter,
        filters.OutcomeFilter,
        filters.AliasFilter,
        filters.ModelFilter,
        filters.KindFilter,
    )
    list_display_links = ("created",)
    search_fields = ("digest",)
    search_help_text = _("A whole digest")
    ordering = ("-created", "-pk")
    sortable_by = ("created",)
    paginator = CappedPaginator
    fields = (
        "created",
        "shown_outcome",
        "shown_reason",
        "shown_model",
        "kind",
        "shown_alias",
        "shown_layer",
        "entry_link",
        "shown_namespace",
        "shown_scope",
        "shown_caller",
        "streamed",
        "shown_latency",
        "shown_upstream",
        "shown_age",
        "similarity",
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "saved_input_tokens",
        "saved_output_tokens",
        "saved_cached_tokens",
        "shown_cost",
        "shown_saved",
        "shown_lookup",
    )
    readonly_fields = fields

    shown_model = text_column("model", _("model"))
    shown_alias = text_column("alias", _("store"))
    shown_layer = text_column("layer", _("layer"))
    shown_namespace = text_column("namespace", _("namespace"))
    shown_scope = text_column("scope", _("scope"))
    shown_caller = text_column("caller", _("caller"))
    shown_reason = text_column("reason", _("reason"))

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        digest = search_term.strip().lower()
        if not digest:
            return queryset, False
        # A database may look for calls that it takes for frequent among the latest ones of all:
        # tell it from when on there are none.
        moments = Call.objects.latest_of_entry(digest).values_list("created", flat=True)
        latest, found = moments.first(), queryset.of_entry(digest)
        return (found.none() if latest is None else found.filter(created__lte=latest)), False

    @admin.display(description=_("outcome"), ordering="outcome")
    def shown_outcome(self, call: Call) -> str:
        return format_html(
            '<span class="llmcache-outcome llmcache-{}">{}</span>',
            call.outcome,
            outcome_names.named(call.outcome),
        )

    @admin.display(description=_("entry"))
    def entry_link(self, call: Call) -> str:
        if not call.digest:
            return formats.MISSING
        url = reverse("admin:llmcache_entry_changelist", current_app=self.admin_site.name)
        return format_html('<a href="{}?q={}">{}</a>', url, call.digest, call.digest[:12])

    @admin.display(description=_("latency"))
    def shown_latency(self, call: Call) -> str:
        return formats.seconds(call.latency)

    @admin.display(description=_("made upstream in"))
    def shown_upstream(self, call: Call) -> str:
        return formats.seconds(call.upstream_seconds)

    @admin.display(description=_("age"))
    def shown_age(self, call: Call) -> str:
        return formats.seconds(call.age)

    @admin.display(description=_("tokens"))
    def shown_tokens(self, call: Call) -> str:
        paid = call.input_tokens + call.output_tokens
        saved = call.saved_input_tokens + call.saved_output_tokens
        return formats.count(paid + saved)

    @admin.display(description=_("cost"))
    def shown_cost(self, call: Call) -> str:
        return formats.money(call.cost)

    @admin.display(description=_("saved"))
    def shown_saved(self, call: Call) -> str:
        return formats.money(call.saved_cost)

    @admin.display(description=_("lookup cost"))
    def shown_lookup(self, call: Call) -> str:
        return formats.money(call.lookup_cost)


class EvictionAdmin(ReadOnlyAdmin):
    """What was removed, why, by whom; the batches that it was done in are on its page."""

    list_display = (
        "created",
        "what",
        "shown_value",
        "shown_alias",
        "shown_number",
        "shown_by",
        "shown_reason",
    )
    list_filter = (filters.AgeFilter, "what")
    list_display_links = ("created",)
    ordering = ("-created", "-pk")
    sortable_by = ("created",)
    paginator = CappedPaginator
    fields = (*list_display, "batches")
    readonly_fields = fields

    shown_value = text_column("value", _("value"))
    shown_alias = text_column("alias", _("store"))
    shown_by = text_column("by", _("by"))
    shown_reason = text_column("reason", _("reason"))

    def get_queryset(self, request: HttpRequest) -> Any:
        rows: Any = super().get_queryset(request)
        return rows.operations().defer("digests")

    @admin.display(description=_("entries removed"))
    def shown_number(self, eviction: Eviction) -> str:
        return formats.count(eviction.number)

    @admin.display(description=_("batches"))
    def batches(self, eviction: Eviction) -> str:
        parts = eviction.parts.order_by("pk")[:100]
        rows = [f"{formats.visible(part.alias)}: {formats.count(part.number)}" for part in parts]
        return ", ".join(rows) or formats.MISSING
