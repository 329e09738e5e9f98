"""The list of entries, and what can be done with many of them at once."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import DELETION
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from llmcache import jobs, maintenance
from llmcache.admin import filters, formats
from llmcache.admin.base import Named, text_column, write_log
from llmcache.admin.entry_page import EntryPage
from llmcache.admin.paging import CappedPaginator
from llmcache.exceptions import InvalidRequest
from llmcache.models import Entry
from llmcache.querysets import EntryQuerySet

AT_ONCE = 5_000
"""So many entries are evicted while the browser waits; more are a task's work."""


class EntryAdmin(EntryPage):
    """Entries of all stores, from the index; the stores themselves are never listed."""

    list_display = (
        "short_digest",
        "shown_preview",
        "shown_model",
        "shown_alias",
        "shown_hits",
        "shown_last_hit",
        "shown_created",
        "shown_end",
        "shown_size",
        "shown_tokens",
        "kind",
        "pinned",
    )
    list_filter = (
        filters.StateFilter,
        filters.AliasFilter,
        filters.ModelFilter,
        filters.KindFilter,
        filters.NamespaceFilter,
    )
    search_fields = ("digest",)
    search_help_text = gettext_lazy("The beginning of a digest, or a model's whole name")
    ordering = ("-created", "-pk")
    sortable_by = ("shown_created", "shown_end")  # what an index has in order
    actions = ("evict_selected",)
    paginator = CappedPaginator
    list_display_links = ("short_digest",)
    change_list_template = "admin/llmcache/entry_list.html"

    # --- what is shown ---

    @admin.display(description=gettext_lazy("digest"))
    def short_digest(self, entry: Entry) -> str:
        return entry.digest[:12]

    @admin.display(description=gettext_lazy("prompt"), empty_value=formats.MISSING)
    def shown_preview(self, entry: Entry) -> str:
        return format_html('<bdi class="llmcache-preview">{}</bdi>', formats.visible(entry.preview))

    shown_model = text_column("model", gettext_lazy("model"))
    shown_alias = text_column("alias", gettext_lazy("store"))

    @admin.display(description=gettext_lazy("size"))
    def shown_size(self, entry: Entry) -> str:
        return formats.size(entry.size)

    @admin.display(description=gettext_lazy("tokens"))
    def shown_tokens(self, entry: Entry) -> str:
        return formats.count(entry.input_tokens + entry.output_tokens)

    @admin.display(description=gettext_lazy("created"), ordering="created")
    def shown_created(self, entry: Entry) -> str:
        return formats.ago(entry.created)

    @admin.display(description=gettext_lazy("last hit"))
    def shown_last_hit(self, entry: Entry) -> str:
        return formats.ago(entry.last_hit)

    @admin.display(description=gettext_lazy("expires"), ordering="kept_until")
    def shown_end(self, entry: Entry) -> Any:
        return formats.ago(entry.expires) if entry.expires else _("never")

    @admin.display(description=gettext_lazy("hits"))
    def shown_hits(self, entry: Entry) -> str:
        return formats.count(entry.hits)

    def action_checkbox(self, obj: Any) -> Any:
        return super().action_checkbox(Named(obj))

    # --- which rows ---

    def get_list_display(self, request: HttpRequest) -> Any:
        if request.user.has_perm("llmcache.view_payload"):
            return self.list_display
        return [name for name in self.list_display if name != "shown_preview"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("material")

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        if not search_term.strip():
            return queryset, False
        return jobs.narrowed(queryset, filters.search_filters(search_term)), False

    # --- evicting ---

    def has_evict_permission(self, request: HttpRequest) -> bool:
        """Whether the user may remove entries."""
        return bool(request.user.has_perm("llmcache.evict_entry"))

    @admin.action(description=gettext_lazy("Evict selected entries"), permissions=["evict"])
    def evict_selected(self, request: HttpRequest, queryset: EntryQuerySet) -> None:
        """Remove the ticked entries from their stores, in all processes."""
        if queryset.count() > AT_ONCE:
            text = _("That is too many to wait for: use “Evict all that match”.")
            self.message_user(request, text, messages.WARNING)
            return
        entries = list(queryset.only("alias", "digest"))
        chosen = Entry.objects.filter(pk__in=[entry.pk for entry in entries])
        done = maintenance.evict_entries(chosen, what="selected in the admin", by=str(request.user))
        stayed = set(chosen.values_list("pk", flat=True)) if done.failed else ()
        gone = [entry for entry in entries if entry.pk not in stayed]
        write_log(request, gone, _("Evicted."), DELETION)
        self.report(request, done)

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        matching = wrap(self.evict_matching_view)
        return [
            path("evict-matching/", matching, name="llmcache_entry_evict_matching"),
            *self.entry_urls(),
            *super().get_urls(),
        ]

    def evict_matching_view(self, request: HttpRequest) -> HttpResponse:
        """Ask, and on POST remove, all entries that the list's filters match."""
        if not self.has_evict_permission(request):
            raise PermissionDenied
        back = reverse("admin:llmcache_entry_changelist", current_app=self.admin_site.name)
        try:
            chosen = filters.chosen(request.GET)
        except InvalidRequest as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(back)
        matching = jobs.entries_matching(chosen)
        pinned = matching.pinned().count()
        number = matching.count() - pinned
        if request.method == "POST":
            self._evict_matching(request, chosen, number)
            return HttpResponseRedirect(back)
        context = self.page(
            request,
            _("Evict all entries that match"),
            matching=number,
            number=formats.count(number),
            pinned=pinned,
            stay=formats.count(pinned),
            chosen=filters.in_words(chosen),
            back=f"{back}?{request.GET.urlencode()}",
        )
        return TemplateResponse(request, "admin/llmcache/evict_matching.html", context)

    def _evict_matching(self, request: HttpRequest, chosen: dict[str, Any], number: int) -> None:
        words = ", ".join(f"{name}={value}" for name, value in chosen.items()) or _("all entries")
        write_log(request, words, _("Evicted all that match."), DELETION)
        if number > AT_ONCE:
            jobs.start("evict_matching", filters=chosen, by=str(request.user))
            text = _("%(number)s entries are being evicted; the eviction log shows how far it is.")
            self.message_user(request, text % {"number": formats.count(number)})
            return
        done = maintenance.evict_entries(
            jobs.entries_matching(chosen).filter(pinned=False), what=words, by=str(request.user)
        )
        self.report(request, done)
