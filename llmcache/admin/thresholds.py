"""A page to try thresholds on: what each would serve of pairs that somebody has decided on."""

from __future__ import annotations

from collections import OrderedDict
from math import floor
from threading import Lock
from typing import Any, Final

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from llmcache import conf
from llmcache.admin import charts, conversations, formats
from llmcache.admin.base import PageMixin
from llmcache.admin.neighbours import SHORT, matcher_of
from llmcache.evaluation import measuring, report, rows
from llmcache.evaluation.intervals import Share
from llmcache.evaluation.measuring import Figures, Measured
from llmcache.evaluation.rows import Row
from llmcache.matching import Matcher

MOST: Final = 300
"""Pairs that are measured while the browser waits."""
_SHOWN: Final = 20


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
        """The page; all it does is read, embed and ask the judge, once somebody has chosen."""
        if not request.user.has_perm("llmcache.view_matchedpair"):
            raise PermissionDenied
        known = {alias: matcher_of(alias) for alias in conf.backends()}
        matchers = {alias: matcher for alias, matcher in known.items() if matcher is not None}
        context: dict[str, Any] = {"found": None, "problem": "", "form": None}
        if matchers:
            context |= self._measured(request, matchers)
        page = self.page(request, _("Threshold"), **context)
        return TemplateResponse(request, "admin/llmcache/threshold.html", page)

    def _measured(self, request: HttpRequest, matchers: dict[str, Matcher]) -> dict[str, Any]:
        first = next(iter(matchers))
        alias = request.GET.get("alias", first)
        matcher = matchers.get(alias, matchers[first])
        given = {
            "alias": first,
            "pairs": "decided",
            "threshold": matcher.threshold,
            **request.GET.dict(),
        }
        form = ThresholdForm(list(matchers), given)
        context = {"form": form, "most": MOST, "asks_judge": matcher.judge is not None}
        if not form.is_valid():
            return context
        data = form.cleaned_data
        context["chosen"] = report.shown(data["threshold"])
        if not request.GET:  # what is measured may take seconds and cost money
            return context
        pairs = _pairs(data["pairs"], data["alias"])
        if not pairs:
            note = _("Nobody has decided on a pair yet whose prompts are kept whole.")
            return {**context, "problem": note}
        found = _kept.measure(matcher, pairs)
        may_read = request.user.has_perm("llmcache.view_payload")
        return {**context, "found": _shown(found, data["threshold"], may_read)}


def _pairs(which: str, alias: str) -> list[Row]:
    """The latest that were decided; of the sample, which is in order, some of every part."""
    if which != "sample":
        return list(rows.from_database(alias, most=MOST))
    pairs = list(rows.sample())
    number = min(MOST, len(pairs))
    return [pairs[index * len(pairs) // number] for index in range(number)]


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
            if found.embed_failures or found.judge_failures:
                return found  # it may go better next time
            with self._lock:
                self._found[key] = found
                while len(self._found) > self._most:
                    self._found.popitem(last=False)
        return found


_kept: Final = _Kept()


def _shown(found: Measured, threshold: float, may_read: bool) -> dict[str, Any]:
    hidden = _("hidden: you may not read prompts")
    figures = [_row(_("this threshold"), found.at(threshold))]
    if threshold != found.configured:
        figures.append(_row(_("the configured one"), found.at(found.configured)))
    for limit in report.LIMITS:
        best = found.best(limit)
        name = _("best with at most %(share)s wrong") % {"share": formats.share(limit)}
        figures.append(_row(name, best) if best else (name, _("none"), "", ""))
    return {
        "total": formats.count(len(found.scored)),
        "pairs": len(found.scored),
        "notes": _notes(found),
        "table": {
            "caption": _("Of the pairs that are the same, and of those that are not"),
            "head": [_("at"), _("threshold"), _("served: right"), _("served: wrong")],
            "rows": figures,
        },
        "categories": {
            "caption": _("By category, at this threshold"),
            "head": [_("category"), _("pairs"), _("served: right"), _("served: wrong")],
            "rows": [
                (
                    formats.visible(name) or formats.MISSING,
                    formats.count(one.hits.total + one.wrong.total),
                    _share(one.hits),
                    _share(one.wrong),
                )
                for name, one in found.by_category(threshold).items()
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
        **_curve(found, threshold),
        "wrong": [
            {
                "similarity": f"{one.similarity or 0.0:.3f}",
                "asked": formats.beginning(_said(asked), SHORT) if may_read else hidden,
                "stored": formats.beginning(_said(stored), SHORT) if may_read else hidden,
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
    return _("%(share)s (%(low)s to %(high)s)") % {
        "share": formats.share(share.value),
        "low": formats.share(share.low),
        "high": formats.share(share.high),
    }


def _curve(found: Measured, threshold: float) -> dict[str, Any]:
    """The chart and its numbers, in whole percents from where it matters up to 1."""
    first = floor(min(0.5, threshold, found.configured) * 10) * 10
    points = [percent / 100 for percent in range(first, 101)]
    guarded = [found.at(point) for point in points]
    bare = [found.at(point, guarded=False) for point in points]
    labels = [f"{point:.2f}" for point in points]
    series = [
        charts.Series(_("right"), "llmcache-hit", [f.hits.value for f in guarded]),
        charts.Series(_("wrong"), "llmcache-miss", [f.wrong.value for f in guarded]),
        charts.Series(
            _("right, by similarity alone"), "llmcache-hit-high", [f.hits.value for f in bare]
        ),
        charts.Series(
            _("wrong, by similarity alone"), "llmcache-miss-high", [f.wrong.value for f in bare]
        ),
    ]
    title = _("Served over the threshold")
    description = _(
        "Which share of the pairs is served rightly and wrongly, at thresholds from %(first)s to 1."
    )
    told = description % {"first": labels[0]}
    values = zip(*(row.values for row in series), strict=True)
    return {
        "chart": charts.lines(title, told, labels, series, formats.share),
        "chart_table": {
            "caption": title,
            "head": [_("threshold"), *(row.name for row in series)],
            "rows": [
                (label, *map(formats.share, shares))
                for label, shares in zip(labels, values, strict=True)
            ],
        },
    }


def _notes(found: Measured) -> list[str]:
    """What of the pairs could not be measured; these count as not served."""
    counts = (
        (found.apart, _("Pairs in two partitions, which are never served: %(number)s.")),
        (found.not_embedded, _("Pairs that could not be embedded: %(number)s.")),
        (found.judge_failures, _("Pairs on which the judge failed: %(number)s.")),
    )
    return [text % {"number": formats.count(number)} for number, text in counts if number]
