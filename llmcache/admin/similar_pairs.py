"""The pairs of prompts that semantic stores took for one question, and what staff say of them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from llmcache import conf, rejecting
from llmcache.admin import filters, formats
from llmcache.admin.base import OwnPageAdmin, text_column, write_log
from llmcache.admin.neighbours import SHORT, matcher_of
from llmcache.admin.paging import MOST, CappedPaginator
from llmcache.admin.thresholds import ThresholdPage
from llmcache.backends.semantic import guards
from llmcache.evaluation.intervals import Share
from llmcache.models import Entry, MatchedPair
from llmcache.querysets import MatchedPairQuerySet


class SameFilter(admin.SimpleListFilter):
    """What was decided."""

    title = gettext_lazy("same question")
    parameter_name = "same"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("yes")), ("no", _("no")), ("open", _("nobody has said"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        questions = {
            "yes": lambda: queryset.said(True),
            "no": lambda: queryset.said(False),
            "open": queryset.undecided,
        }
        return questions.get(self.value() or "", lambda: queryset)()


class MatchedPairAdmin(ThresholdPage, OwnPageAdmin):
    """Similar pairs, those seen last first."""

    list_display = (
        "shown_similarity",
        "shown_texts",
        "shown_same",
        "how",
        "shown_times",
        "shown_seen",
        "shown_alias",
        "shown_model",
    )
    list_filter = (filters.SeenFilter, SameFilter, "how", filters.AliasFilter)
    list_display_links = ("shown_similarity",)
    ordering = ("-seen", "-pk")
    sortable_by = ("shown_seen",)
    paginator = CappedPaginator
    actions = ("say_same", "say_other")
    change_list_template = "admin/llmcache/pair_list.html"

    shown_model = text_column("model", gettext_lazy("model"))
    shown_alias = text_column("alias", gettext_lazy("store"))

    @admin.display(description=gettext_lazy("similarity"))
    def shown_similarity(self, pair: MatchedPair) -> str:
        return f"{pair.similarity:.3f}"

    @admin.display(description=gettext_lazy("asked, and stored"))
    def shown_texts(self, pair: MatchedPair) -> str:
        return format_html(
            '<bdi class="llmcache-said">{}</bdi><bdi class="llmcache-said">{}</bdi>',
            formats.beginning(pair.asked, SHORT) or formats.MISSING,
            formats.beginning(pair.stored, SHORT) or formats.MISSING,
        )

    @admin.display(description=gettext_lazy("same question"))
    def shown_same(self, pair: MatchedPair) -> str:
        css = {True: "hit", False: "miss", None: "bypass"}[pair.same]
        text = {True: _("yes"), False: _("no"), None: _("nobody has said")}[pair.same]
        return format_html('<span class="llmcache-outcome llmcache-{}">{}</span>', css, text)

    @admin.display(description=gettext_lazy("times"))
    def shown_times(self, pair: MatchedPair) -> str:
        return formats.count(pair.times)

    @admin.display(description=gettext_lazy("last seen"), ordering="seen")
    def shown_seen(self, pair: MatchedPair) -> str:
        return formats.ago(pair.seen)

    def get_list_display(self, request: HttpRequest) -> Any:
        if request.user.has_perm("llmcache.view_payload"):
            return self.list_display
        return [name for name in self.list_display if name != "shown_texts"]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        return super().changelist_view(request, {**(extra_context or {}), **_live_rate()})

    # --- deciding ---

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Whether the user may say of pairs whether they are one question."""
        return bool(request.user.has_perm("llmcache.change_matchedpair"))

    @admin.action(description=gettext_lazy("One answer serves both"), permissions=["decide"])
    def say_same(self, request: HttpRequest, queryset: MatchedPairQuerySet) -> None:
        """Let the ticked pairs match."""
        self._decide(request, list(queryset), True)

    @admin.action(
        description=gettext_lazy("Not the same: reject, and never match again"),
        permissions=["decide"],
    )
    def say_other(self, request: HttpRequest, queryset: MatchedPairQuerySet) -> None:
        """Block the ticked pairs, and evict the answers that they were served."""
        self._decide(request, list(queryset), False)

    def _decide(self, request: HttpRequest, pairs: list[MatchedPair], same: bool) -> None:
        done = 0
        for pair in pairs:
            try:
                rejecting.decide(pair, same, by=str(request.user))
            except Exception as error:
                text = _("A pair of the store “%(alias)s” stayed as it was: %(problem)s")
                values = {"alias": pair.alias, "problem": f"{type(error).__name__}: {error}"}
                self.message_user(request, formats.visible(text % values), messages.ERROR)
                continue
            done += 1
            said = _("One answer serves both.") if same else _("Rejected.")
            write_log(request, [pair], said, CHANGE)
        if done:
            text = ngettext("%(number)s pair was decided.", "%(number)s pairs were decided.", done)
            self.message_user(request, text % {"number": done}, messages.SUCCESS)

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        decide = wrap(require_POST(self.decide_view))
        return [
            path("<int:pk>/decide/", decide, name="llmcache_matchedpair_decide"),
            path("threshold/", wrap(self.threshold_view), name="llmcache_threshold"),
            *super().get_urls(),
        ]

    def decide_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Say of one pair whether it is one question."""
        if not (self.has_view_permission(request) and self.has_decide_permission(request)):
            raise PermissionDenied
        pair = MatchedPair.objects.filter(pk=pk).first()
        if pair is None or request.POST.get("same") not in ("yes", "no"):
            raise Http404(_("There is no such pair."))
        self._decide(request, [pair], request.POST["same"] == "yes")
        url = reverse(
            "admin:llmcache_matchedpair_change", args=[pk], current_app=self.admin_site.name
        )
        return HttpResponseRedirect(url)

    # --- one pair ---

    def own_page(self, request: HttpRequest, pair: MatchedPair) -> HttpResponse:
        """The two prompts, what guards say of them, and what was decided."""
        may_read = request.user.has_perm("llmcache.view_payload")
        matcher = matcher_of(pair.alias)
        compares_histories = matcher is not None and matcher.rules.compares_histories
        verdicts = []
        if matcher is not None and pair.whole and not compares_histories:
            verdicts = guards.verdicts(matcher.guards, pair.asked, pair.stored)
        context = self.page(
            request,
            _("Similar pair"),
            pair=pair,
            similarity=f"{pair.similarity:.3f}",
            asked=formats.visible(pair.asked),
            stored=formats.visible(pair.stored),
            may_read=may_read,
            may_decide=self.has_decide_permission(request),
            store_prompts=conf.config().store_prompts,
            verdicts=[
                (name, formats.visible(text) if may_read or not text else _("objects"))
                for name, text in verdicts
            ],
            compares_histories=compares_histories,
            entry=Entry.objects.filter(alias=pair.alias, digest=pair.digest).only("pk").first(),
            facts=_facts(pair),
        )
        return TemplateResponse(request, "admin/llmcache/pair.html", context)


def _live_rate() -> dict[str, Any]:
    """How often audited matches were wrong, and how many pairs are rejected: of the pairs seen
    last, so that no page reads a whole table.
    """
    decided = ~Q(same=None) & ~Q(how=MatchedPair.How.SERVED)
    latest = MatchedPair.objects.order_by("-seen").values("pk", "how", "same")[:MOST]
    counts = latest.aggregate(
        seen=Count("pk"),
        compared=Count("pk", filter=decided),
        wrong=Count("pk", filter=decided & Q(same=False)),
        rejected=Count("pk", filter=Q(same=False)),
        undecided=Count("pk", filter=Q(same=None)),
    )
    share = Share(counts["wrong"], counts["compared"])
    return {
        "wrong_rate": formats.share(share.value),
        "wrong_low": formats.share(share.low),
        "wrong_high": formats.share(share.high),
        "compared": formats.count(counts["compared"]) if counts["compared"] else "",
        "compared_pairs": counts["compared"],
        "rejected": formats.count(counts["rejected"]),
        "undecided": formats.count(counts["undecided"]),
        "only_latest": formats.count(MOST) if counts["seen"] >= MOST else "",
    }


def _facts(pair: MatchedPair) -> list[tuple[str, Any]]:
    same = {True: _("yes"), False: _("no: rejected"), None: _("nobody has said so yet")}
    return [
        (_("Same question"), same[pair.same]),
        (_("Decided by"), formats.visible(pair.decided_by) or formats.MISSING),
        (_("Similarity"), f"{pair.similarity:.4f}"),
        (_("What came of it"), pair.get_how_display()),
        (_("Times"), formats.count(pair.times)),
        (_("Store"), formats.visible(pair.alias)),
        (_("Model"), formats.visible(pair.model) or formats.MISSING),
        (_("First seen"), formats.ago(pair.created)),
        (_("Last seen"), formats.ago(pair.seen)),
    ]
