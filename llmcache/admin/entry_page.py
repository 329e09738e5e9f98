"""The page of one entry, and what can be done with it: each by POST, each with its permission."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import CHANGE, DELETION
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from llmcache import conf, keys, maintenance, refreshing
from llmcache.admin import conversations, formats, neighbours
from llmcache.admin.base import OwnPageAdmin, write_log
from llmcache.admin.entry_history import history
from llmcache.envelope import Envelope
from llmcache.exceptions import EntryGone, LLMCacheError
from llmcache.maintenance import Evicted
from llmcache.models import Entry

View = Callable[[HttpRequest, Entry], HttpResponse]


class EntryPage(OwnPageAdmin):
    """One entry: its conversation, answer, key, facts, hits, and buttons."""

    def entry_urls(self) -> list[Any]:
        """The addresses of what can be done with one entry."""
        actions: dict[str, tuple[View, str]] = {
            "evict": (self.evict_view, "llmcache.evict_entry"),
            "pin": (self.pin_view, "llmcache.change_entry"),
            "ttl": (self.ttl_view, "llmcache.change_entry"),
            "again": (self.again_view, "llmcache.change_entry"),
            "answer": (self.answer_view, "llmcache.view_payload"),
        }
        return [
            path(
                f"<int:pk>/{name}/",
                self.admin_site.admin_view(self._guarded(view, permission)),
                name=f"llmcache_entry_{name}",
            )
            for name, (view, permission) in actions.items()
        ]

    def _guarded(self, view: View, permission: str) -> Callable[..., HttpResponse]:
        @require_POST
        def guarded(request: HttpRequest, pk: int) -> HttpResponse:
            if not (self.has_view_permission(request) and request.user.has_perm(permission)):
                raise PermissionDenied
            entry = Entry.objects.filter(pk=pk).first()
            if entry is None:
                raise Http404(_("The index has no such entry any more."))
            return view(request, entry)

        return guarded

    # --- the page ---

    def own_page(self, request: HttpRequest, entry: Entry, **extra: Any) -> HttpResponse:
        """The page itself.

        Args:
            extra: further context, such as a new answer to show beside the stored one.
        """
        may_read = request.user.has_perm("llmcache.view_payload")
        material = conversations.material_of(entry)
        answer, gone = "", ""
        try:
            envelope = maintenance.payload(entry)
        except EntryGone as error:
            gone = formats.problem(error)
        else:
            answer = _answer(entry, envelope) if may_read else ""
        context = self.page(
            request,
            _("Entry %(digest)s") % {"digest": entry.digest[:12]},
            entry=entry,
            facts=self.facts(entry),
            tags=[formats.visible(tag.name) for tag in entry.tags.all()],
            turns=conversations.asked(material) if may_read else [],
            preview=formats.visible(entry.preview) if may_read else "",
            material=conversations.pretty(material) if may_read and material else "",
            store_prompts=conf.config().store_prompts,
            may_read=may_read,
            may_evict=request.user.has_perm("llmcache.evict_entry"),
            may_change=request.user.has_perm("llmcache.change_entry"),
            answer=answer,
            gone=gone,
            **self.similar(request, entry, material, may_read),
            **history(entry),
            **extra,
        )
        return TemplateResponse(request, "admin/llmcache/entry.html", context)

    def similar(
        self, request: HttpRequest, entry: Entry, material: dict[str, Any], may_read: bool
    ) -> dict[str, Any]:
        """What comes near the entry's prompt, where its store is searched by meaning. Only when
        asked for: it costs an embedding.
        """
        matcher = neighbours.matcher_of(entry.alias)
        if matcher is None:
            return {}
        if "neighbours" not in request.GET:
            return {"may_search": True}
        asked = None
        if material and keys.digest_of(material) == entry.digest:
            asked = matcher.question(material)
        near = neighbours.shown(entry.alias, matcher, asked, may_read=may_read, but=entry.digest)
        if asked is None:
            near["problem"] = _(
                "The index does not keep the whole prompt of this entry. It does so for new "
                "entries with STORE_PROMPTS = “full” and no REDACT."
            )
        return {"near": near}

    def facts(self, entry: Entry) -> list[tuple[str, Any]]:
        """What is known of an entry, by name."""
        model = formats.visible(entry.model)
        return [
            (_("Digest"), entry.digest),
            (_("Store"), formats.visible(entry.alias)),
            (_("Model"), model),
            (_("Call type"), entry.kind),
            (_("Namespace"), formats.visible(entry.namespace) or formats.MISSING),
            (_("Scope"), formats.visible(entry.scope) or formats.MISSING),
            (_("Created"), _moment(entry.created)),
            (_("Expires"), _moment(entry.expires) if entry.expires else _("never")),
            (_("Pinned"), _("yes") if entry.pinned else _("no")),
            (_("Hits"), formats.count(entry.hits)),
            (_("Last hit"), _moment(entry.last_hit) if entry.last_hit else formats.MISSING),
            (_("Size in the store"), formats.size(entry.size)),
            (_("Input tokens"), formats.count(entry.input_tokens)),
            (_("of these in the provider's cache"), formats.count(entry.cached_tokens)),
            (_("Output tokens"), formats.count(entry.output_tokens)),
            (_("Made upstream in"), formats.seconds(entry.upstream_seconds)),
            (_("Cost"), formats.money(entry.cost)),
        ]

    # --- what can be done ---

    def report(self, request: HttpRequest, done: Evicted) -> None:
        """Tell the user what an eviction did."""
        if done.removed or not done.failed:
            text = ngettext(
                "%(number)s entry was evicted.", "%(number)s entries were evicted.", done.removed
            )
            shown = text % {"number": formats.count(done.removed)}
            self.message_user(request, shown, messages.SUCCESS)
        for alias, problem in done.problems.items():
            text = _("Entries of the store “%(alias)s” stayed, as it failed: %(problem)s")
            shown = formats.visible(text % {"alias": alias, "problem": problem})
            self.message_user(request, shown, messages.ERROR)

    def back(self, request: HttpRequest, entry: Entry) -> HttpResponse:
        """To the entry's page."""
        site = self.admin_site.name
        url = reverse("admin:llmcache_entry_change", args=[entry.pk], current_app=site)
        return HttpResponseRedirect(url)

    def evict_view(self, request: HttpRequest, entry: Entry) -> HttpResponse:
        """Remove the entry from its store and the index, in all processes."""
        done = maintenance.evict_entries(
            Entry.objects.filter(pk=entry.pk),
            what=entry.digest,
            reason="evicted in the admin",
            by=str(request.user),
        )
        self.report(request, done)
        if done.problems:
            return self.back(request, entry)
        write_log(request, [entry], _("Evicted."), DELETION)
        url = reverse("admin:llmcache_entry_changelist", current_app=self.admin_site.name)
        return HttpResponseRedirect(url)

    def pin_view(self, request: HttpRequest, entry: Entry) -> HttpResponse:
        """Keep the entry without end."""
        return self._changed(
            request, entry, lambda: maintenance.pin(entry, by=str(request.user)), _("Pinned.")
        )

    def ttl_view(self, request: HttpRequest, entry: Entry) -> HttpResponse:
        """Let the entry live so many hours from now; this unpins it."""
        try:
            hours = float(request.POST.get("hours", "").replace(",", "."))
        except ValueError:
            hours = 0.0
        if not 0 < hours < 1e6:
            text = _("Give a number of hours above 0 and below a million.")
            self.message_user(request, text, messages.ERROR)
            return self.back(request, entry)
        seconds = hours * 3600
        text = _("Ends in %(time)s.") % {"time": formats.seconds(seconds)}
        by = str(request.user)
        return self._changed(
            request, entry, lambda: maintenance.set_ttl(entry, seconds, by=by), text
        )

    def _changed(
        self, request: HttpRequest, entry: Entry, change: Callable[[], None], text: str
    ) -> HttpResponse:
        try:
            change()
        except LLMCacheError as error:
            self.message_user(request, formats.problem(error), messages.ERROR)
        else:
            write_log(request, [entry], text, CHANGE)
            self.message_user(request, text, messages.SUCCESS)
        return self.back(request, entry)

    def again_view(self, request: HttpRequest, entry: Entry) -> HttpResponse:
        """Ask the provider again, and show the new answer beside the one that was stored."""
        try:
            before = _answer(entry, maintenance.payload(entry))
        except EntryGone:
            before = ""
        try:
            response = refreshing.refresh(entry)
        except LLMCacheError as error:
            self.message_user(request, formats.problem(error), messages.ERROR)
            return self.back(request, entry)
        write_log(request, [entry], _("Asked again."), CHANGE)
        self.message_user(request, _("The provider was asked again."), messages.SUCCESS)
        if not request.user.has_perm("llmcache.view_payload"):
            return self.back(request, entry)
        reason = response.cache.reason if "not stored" in response.cache.reason else ""
        entry.refresh_from_db()
        return self.own_page(
            request,
            entry,
            asked_again=True,
            before=before,
            new=conversations.shown(conversations.said(response.model_dump())),
            not_stored=formats.visible(reason),
        )

    def answer_view(self, request: HttpRequest, entry: Entry) -> HttpResponse:
        """The answer as a text file."""
        try:
            text = conversations.answered(entry.kind, maintenance.payload(entry))
        except EntryGone as error:
            self.message_user(request, formats.problem(error), messages.ERROR)
            return self.back(request, entry)
        response = HttpResponse(text, content_type="text/plain; charset=utf-8")
        name = f"answer-{entry.digest[:12]}.txt"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        response["X-Content-Type-Options"] = "nosniff"
        return response


def _answer(entry: Entry, envelope: Envelope) -> str:
    return conversations.shown(conversations.answered(entry.kind, envelope))


def _moment(when: datetime) -> str:
    return date_format(timezone.localtime(when), "DATETIME_FORMAT")
