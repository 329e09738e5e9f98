"""Pages that belong to no table: explaining a call, and the stores with their health."""

from __future__ import annotations

import re
from typing import Any

import orjson
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import DELETION
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from llmcache import conf, explaining, maintenance, probing, prompts
from llmcache.admin import conversations, formats, neighbours
from llmcache.admin.base import write_log
from llmcache.admin.dashboard import DashboardAdmin
from llmcache.calls import KINDS
from llmcache.exceptions import LLMCacheError
from llmcache.models import Entry
from llmcache.outcome import HIT, STALE
from llmcache.outcome_names import named

EXAMPLE = '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}'


class ExplainForm(forms.Form):
    """A call to explain."""

    kind = forms.ChoiceField(label=gettext_lazy("Call type"), choices=[(k, k) for k in KINDS])
    alias = forms.ChoiceField(label=gettext_lazy("Store"))
    request = forms.CharField(
        label=gettext_lazy("Arguments as JSON"),
        widget=forms.Textarea(attrs={"rows": 10, "spellcheck": "false"}),
        help_text=gettext_lazy("What the function is called with: model, messages and so on."),
    )

    threshold = forms.FloatField(
        label=gettext_lazy("Threshold to try"),
        required=False,
        min_value=0,
        max_value=1,
        widget=forms.NumberInput(attrs={"step": "0.005"}),
        help_text=gettext_lazy(
            "For stores that are searched by meaning; empty: the configured one."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        alias: Any = self.fields["alias"]
        alias.choices = [(name, name) for name in conf.backends()]
        self.fields["request"].widget.attrs["placeholder"] = EXAMPLE

    def clean_request(self) -> dict[str, Any]:
        """The arguments, parsed."""
        try:
            parsed = orjson.loads(self.cleaned_data["request"])
        except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
            raise forms.ValidationError(_("This is not JSON: %s") % error) from error
        if not isinstance(parsed, dict):
            raise forms.ValidationError(_("Write an object with the arguments' names."))
        return parsed


class ToolsAdmin(DashboardAdmin):
    """The dashboard with the pages that hang on it."""

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        return [
            path("explain/", wrap(self.explain_view), name="llmcache_explain"),
            path("stores/", wrap(self.aliases_view), name="llmcache_aliases"),
            path("stores/test/", wrap(require_POST(self.probe_view)), name="llmcache_probe"),
            path("stores/clear/", wrap(self.clear_view), name="llmcache_clear"),
            *super().get_urls(),
        ]

    def _refuse_unless(self, request: HttpRequest, permission: str) -> None:
        if not request.user.has_perm(permission):
            raise PermissionDenied

    # --- explaining ---

    def explain_view(self, request: HttpRequest) -> HttpResponse:
        """A form for a call, and what would become of it."""
        self._refuse_unless(request, "llmcache.view_entry")
        form = ExplainForm(request.POST or None)
        found: list[dict[str, Any]] = []
        problem = ""
        if request.method == "POST" and form.is_valid():
            data = form.cleaned_data
            try:
                for one in explaining.explain(data["kind"], data["request"], data["alias"]):
                    shown = self._shown(request, one, data["kind"])
                    shown["near"] = _near(request, one, data["alias"], data["threshold"])
                    found.append(shown)
            except (LLMCacheError, ImproperlyConfigured) as error:
                problem = formats.problem(error)
        context = self.page(request, _("Explain a call"), form=form, found=found, problem=problem)
        return TemplateResponse(request, "admin/llmcache/explain.html", context)

    def _shown(
        self, request: HttpRequest, one: explaining.Explanation, kind: str
    ) -> dict[str, Any]:
        may_read = request.user.has_perm("llmcache.view_payload")
        hidden = _("hidden: you may not read prompts")
        answer = ""
        if one.envelope is not None and may_read:
            answer = conversations.shown(conversations.answered(kind, one.envelope))
        return {
            "digest": one.digest,
            "outcome": one.outcome,
            "outcome_name": named(one.outcome),
            "reason": formats.visible(one.reason),
            "age": formats.seconds(one.age) if one.age is not None else "",
            "left": formats.seconds(one.left) if one.left is not None else "",
            "layer": one.layer,
            "entry": one.entry,
            "answer": answer,
            "is_hidden": one.envelope is not None and not may_read,
            "material": conversations.pretty(one.material) if one.material else "",
            "neighbours": [
                {
                    "entry": near.entry,
                    "differences": [
                        (formats.visible(path), *_apart(*values))
                        if may_read or not _is_prompt(path)
                        else (formats.visible(path), hidden, hidden)
                        for path, values in list(near.differences.items())[:20]
                    ],
                }
                for near in one.neighbours
            ],
        }

    # --- stores ---

    def aliases_view(self, request: HttpRequest) -> HttpResponse:
        """Every store: what it is, what it can and how it is."""
        self._refuse_unless(request, "llmcache.view_entry")
        context = self.page(
            request,
            _("Stores"),
            stores=[_store(probing.describe(alias)) for alias in conf.backends()],
            counts=sorted(probing.counted().items()),
            may_clear=request.user.has_perm("llmcache.clear_cache"),
        )
        return TemplateResponse(request, "admin/llmcache/aliases.html", context)

    def _back(self) -> HttpResponse:
        url = reverse("admin:llmcache_aliases", current_app=self.admin_site.name)
        return HttpResponseRedirect(url)

    def probe_view(self, request: HttpRequest) -> HttpResponse:
        """Write, read and delete an entry of no meaning, and say how long that took."""
        self._refuse_unless(request, "llmcache.view_entry")
        alias = _known(request.POST.get("alias", ""))
        try:
            times = probing.probe(alias)
        except Exception as error:
            text = _("The store “%(alias)s” failed: %(problem)s")
            problem = formats.visible(f"{type(error).__name__}: {error}")
            shown = text % {"alias": alias, "problem": problem}
            self.message_user(request, shown, messages.ERROR)
        else:
            text = _(
                "The store “%(alias)s” works: write %(write)s, read %(read)s, delete %(drop)s."
            )
            values = {name: formats.seconds(taken) for name, taken in times.items()}
            self.message_user(request, text % {"alias": alias, **values}, messages.SUCCESS)
        return self._back()

    def clear_view(self, request: HttpRequest) -> HttpResponse:
        """Ask, and on POST remove, everything that a store has."""
        self._refuse_unless(request, "llmcache.clear_cache")
        alias = _known(request.POST.get("alias") or request.GET.get("alias", ""))
        is_wrong = False
        if request.method == "POST":
            is_wrong = request.POST.get("typed") != alias
            if not is_wrong:
                self._clear(request, alias)
                return self._back()
        known = probing.describe(alias)
        shown = _store(known)
        context = self.page(
            request,
            _("Clear a store"),
            alias=alias,
            number=shown["entries"],
            counted=known.entries,
            is_wrong=is_wrong,
            back=reverse("admin:llmcache_aliases", current_app=self.admin_site.name),
        )
        return TemplateResponse(request, "admin/llmcache/clear.html", context)

    def _clear(self, request: HttpRequest, alias: str) -> None:
        done = maintenance.clear(alias, reason="cleared in the admin", by=str(request.user))
        if done.problems:
            text = _("The store “%(alias)s” was not cleared: %(problem)s")
            problem = formats.visible("; ".join(done.problems.values()))
            shown = text % {"alias": alias, "problem": problem}
            self.message_user(request, shown, messages.ERROR)
        else:
            write_log(request, alias, _("Cleared the whole store."), DELETION)
            text = _("The store “%(alias)s” is empty.")
            self.message_user(request, text % {"alias": alias}, messages.SUCCESS)


def _near(
    request: HttpRequest, one: explaining.Explanation, alias: str, threshold: float | None
) -> dict[str, Any] | None:
    """What comes near a call that misses, where its store is searched by meaning."""
    matcher = neighbours.matcher_of(alias)
    if matcher is None or not one.material or one.outcome in (HIT, STALE):
        return None
    may_read = request.user.has_perm("llmcache.view_payload")
    asked = matcher.question(one.material)
    return neighbours.shown(alias, matcher, asked, may_read=may_read, threshold=threshold)


def _store(known: probing.Description) -> dict[str, Any]:
    more = "+" if known.has_more else ""
    names = {
        "shared by all processes": _("Shared by all processes"),
        "signed": _("Entries are signed"),
        "exact ttl": _("Keeps fractions of a second"),
        "can be listed": _("Can be listed"),
        "can be cleared": _("Can be cleared by itself"),
    }
    return {
        "alias": known.alias,
        "kind": known.kind,
        "location": known.location,
        "layers": known.layers,
        "is_resting": known.is_resting,
        "problem": formats.visible(known.problem),
        "timeout": _("ever") if known.timeout is None else formats.seconds(known.timeout),
        "entries": formats.count(known.entries) + more,
        "size": formats.size(known.size) + more,
        "abilities": [(names[name], value) for name, value in known.abilities.items()],
    }


def _is_prompt(path: str) -> bool:
    """Whether a part of a key's material holds users' own words."""
    first, *rest = re.split(r"[.\[]", path)
    if first == "params":
        return not rest or rest[0] in prompts.PROMPTS
    return first in ("item", "key")


def _known(alias: str) -> str:
    if alias not in conf.backends():
        raise Http404(_("LLMCACHE has no such alias."))
    return alias


def _apart(first: object, second: object) -> tuple[str, str]:
    """Two values as JSON; of long ones, what stands around the place where they part."""
    texts = orjson.dumps(first).decode(), orjson.dumps(second).decode()
    pairs = enumerate(zip(*texts, strict=False))
    same = next((place for place, (one, other) in pairs if one != other), min(map(len, texts)))
    start = same - 60 if same > 120 else 0
    return _part(texts[0], start), _part(texts[1], start)


def _part(text: str, start: int) -> str:
    end = start + 300
    return formats.visible(
        f"{'…' if start else ''}{text[start:end]}{'…' if len(text) > end else ''}"
    )


def register(site: admin.AdminSite) -> None:
    """Put the pages into an admin site of your own."""
    from llmcache.admin.calls import CallAdmin, EvictionAdmin
    from llmcache.admin.entries import EntryAdmin
    from llmcache.admin.similar_pairs import MatchedPairAdmin
    from llmcache.admin.virtual_keys import VirtualKeyAdmin
    from llmcache.models import Call, Eviction, HourlyStat, MatchedPair, VirtualKey

    site.register(Entry, EntryAdmin)
    site.register(Call, CallAdmin)
    site.register(Eviction, EvictionAdmin)
    site.register(HourlyStat, ToolsAdmin)
    site.register(MatchedPair, MatchedPairAdmin)
    site.register(VirtualKey, VirtualKeyAdmin)
