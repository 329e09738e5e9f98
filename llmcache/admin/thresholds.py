"""A page to try thresholds on: what each would serve of pairs that somebody has decided on."""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from threading import Lock
from typing import Any, Final

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from llmcache import caching, conf, matching
from llmcache.admin import charts, conversations, formats
from llmcache.admin.base import PageMixin
from llmcache.evaluation import measuring, report, rows
from llmcache.evaluation.intervals import Share
from llmcache.evaluation.measuring import Figures, Measured
from llmcache.evaluation.rows import Row
from llmcache.matching import Matcher

MOST: Final = 1000
"""Pairs that are measured while the browser waits."""
_SHOWN: Final = 20
_POINTS: Final = 41


class ThresholdForm(forms.Form):
    """What to measure, and where."""

    alias = forms.ChoiceField(label=gettext_lazy("Store"))
    pairs = forms.ChoiceField(
        label=gettext_lazy("Pairs"),
        choices=(
            ("decided", gettext_lazy("decided by staff and audits")),
            ("sample", gettext_lazy("the sample of this package")),
        ),
    )
    threshold = forms.FloatField(
        label=gettext_lazy("Threshold"),
        min_value=0,
        max_value=1,
        widget=forms.NumberInput(attrs={"type": "range", "step": "0.005", "min": "0", "max": "1"}),
    )

    def __init__(self, aliases: list[str], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        alias: Any = self.fields["alias"]
        alias.choices = [(name, name) for name in aliases]


class ThresholdPage(PageMixin):
    """Hits and wrong answers at a threshold that is chosen with a slider."""

    def threshold_view(self, request: HttpRequest) -> HttpResponse:
        """The page; all it does is read and embed."""
        if not request.user.has_perm("llmcache.view_matchedpair"):
            raise PermissionDenied
        matchers = _matchers()
        context: dict[str, Any] = {"found": None, "problem": "", "form": None}
        if matchers:
            context |= self._measured(request, matchers)
        page = self.page(request, _("Threshold"), **context)
        return TemplateResponse(request, "admin/llmcache/threshold.html", page)

    def _measured(self, request: HttpRequest, matchers: dict[str, Matcher]) -> dict[str, Any]:
        first = next(iter(matchers))
        matcher = matchers.get(request.GET.get("alias", first), matchers[first])
        given = {
            "alias": matcher.backend.alias,
            "pairs": "decided",
            "threshold": matcher.threshold,
            **request.GET.dict(),
        }
        form = ThresholdForm(list(matchers), given)
        if not form.is_valid():
            return {"form": form}
        data = form.cleaned_data
        pairs = _pairs(data["pairs"], matcher)
        if not pairs:
            note = _("Nobody has decided on a pair yet whose prompts are kept whole.")
            return {"form": form, "problem": note}
        found = _kept.measure(matcher, pairs)
        may_read = request.user.has_perm("llmcache.view_payload")
        return {
            "form": form,
            "chosen": f"{data['threshold']:.3f}",
            "found": _shown(found, data["threshold"], may_read),
        }


def _matchers() -> dict[str, Matcher]:
    found = {}
    for alias in conf.backends():
        cache = caching.for_alias(alias)
        matcher = None if cache is None else matching.for_store(cache)
        if matcher is not None and matcher.backend.alias == alias:
            found[alias] = matcher
    return found


def _pairs(which: str, matcher: Matcher) -> list[Row]:
    source = rows.sample() if which == "sample" else rows.from_database(matcher.backend.alias)
    return list(islice(source, MOST))


class _Kept:
    """What was measured last, so that moving the slider embeds nothing again."""

    def __init__(self, most: int = 4) -> None:
        self._most = most
        self._lock = Lock()
        self._found: OrderedDict[tuple[Any, ...], Measured] = OrderedDict()

    def measure(self, matcher: Matcher, pairs: list[Row]) -> Measured:
        key = (matcher, tuple(pairs))
        with self._lock:
            found = self._found.get(key)
        if found is None:
            found = measuring.measure(matcher, pairs)
            with self._lock:
                self._found[key] = found
                while len(self._found) > self._most:
                    self._found.popitem(last=False)
        return found


_kept: Final = _Kept()


def _shown(found: Measured, threshold: float, may_read: bool) -> dict[str, Any]:
    hidden = _("hidden: you may not read prompts")
    rows_of_figures = [(_("this threshold"), found.at(threshold))]
    if threshold != found.configured:
        rows_of_figures.append((_("the configured one"), found.at(found.configured)))
    for limit in report.LIMITS:
        best = found.best(limit)
        if best is not None:
            name = _("best with at most %(share)s wrong") % {"share": formats.share(limit)}
            rows_of_figures.append((name, best))
    return {
        "total": formats.count(len(found.scored)),
        "table": {
            "caption": _("Of the pairs that are the same, and of those that are not"),
            "head": [_("at"), _("threshold"), _("served: right"), _("served: wrong")],
            "rows": [_row(name, figures) for name, figures in rows_of_figures],
        },
        "categories": {
            "caption": _("By category, at this threshold"),
            "head": [_("category"), _("pairs"), _("served: right"), _("served: wrong")],
            "rows": [
                (
                    formats.visible(name) or formats.MISSING,
                    formats.count(figures.hits.total + figures.wrong.total),
                    _share(figures.hits),
                    _share(figures.wrong),
                )
                for name, figures in found.by_category(threshold).items()
            ],
        },
        "guards": {
            "caption": _("Pairs that guards refuse"),
            "head": [_("guard"), _("the same"), _("not the same")],
            "rows": [
                (name, formats.count(same), formats.count(other))
                for name, (same, other) in sorted(found.guards.items())
            ],
        },
        "chart": _chart(found),
        "wrong": [
            {
                "similarity": f"{one.similarity or 0.0:.3f}",
                "asked": _said(asked) if may_read else hidden,
                "stored": _said(stored) if may_read else hidden,
            }
            for one in found.wrong_at(threshold)[:_SHOWN]
            for stored, asked in [one.row.materials()]
        ],
    }


def _said(material: dict[str, Any]) -> str:
    """A row's messages as people read them; of a single one, its text."""
    turns = conversations.asked(material)
    texts = [turn.text if len(turns) == 1 else f"{turn.role}: {turn.text}" for turn in turns]
    return "\n".join(texts)


def _row(name: str, figures: Figures) -> tuple[str, ...]:
    return name, report.shown(figures.threshold), _share(figures.hits), _share(figures.wrong)


def _share(share: Share) -> str:
    if share.value is None:
        return formats.MISSING
    values = (formats.share(share.value), formats.share(share.low), formats.share(share.high))
    return _("%s (%s to %s)") % values


def _chart(found: Measured) -> charts.Chart:
    points = [0.5 + number / (2 * (_POINTS - 1)) for number in range(_POINTS)]
    guarded = [found.at(point) for point in points]
    bare = [found.at(point, guarded=False) for point in points]
    return charts.lines(
        _("Served over the threshold"),
        _("Which share of the pairs is served rightly and wrongly, at thresholds from 0.5 to 1."),
        [f"{point:.2f}" for point in points],
        [
            charts.Series(_("right"), "llmcache-hit", [f.hits.value for f in guarded]),
            charts.Series(_("wrong"), "llmcache-miss", [f.wrong.value for f in guarded]),
            charts.Series(
                _("right, by similarity alone"), "llmcache-hit-high", [f.hits.value for f in bare]
            ),
            charts.Series(
                _("wrong, by similarity alone"), "llmcache-miss-high", [f.wrong.value for f in bare]
            ),
        ],
        formats.share,
    )
