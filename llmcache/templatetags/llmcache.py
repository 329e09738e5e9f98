"""`{% load llmcache %}`: the cache's figures in any template."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

from django.db import connections, transaction
from django.template import Context, Library, Node, TemplateSyntaxError
from django.template.base import FilterExpression, Parser, Token, token_kwargs
from django.utils import timezone

from llmcache import stats
from llmcache.events import warn_once

register = Library()

TEMPLATE = "llmcache/stats.html"


@register.tag
def llmcache_stats(parser: Parser, token: Token) -> StatsNode:
    """The figures of some hours: `{% llmcache_stats hours=24 alias="default" as figures %}`.

    Without `as`, they are shown by the template `llmcache/stats.html`. An empty alias stands for
    all of them. One query. Where the figures cannot be read, the log says why, the variable is None
    and nothing is shown.
    """
    name, *bits = token.split_contents()
    variable = None
    if len(bits) >= 2 and bits[-2] == "as":
        variable = bits[-1]
        bits = bits[:-2]
    given = token_kwargs(bits, parser)
    if bits or not given.keys() <= {"hours", "alias"}:
        raise TemplateSyntaxError(
            f'{name} is written {{% {name} hours=24 alias="default" as stats %}}, where each part '
            "may be left out."
        )
    return StatsNode(given, variable)


class StatsNode(Node):
    """One `llmcache_stats` in a template."""

    def __init__(self, given: dict[str, FilterExpression], variable: str | None) -> None:
        self.given = given
        self.variable = variable

    def render(self, context: Context) -> str:
        given = {name: value.resolve(context) for name, value in self.given.items()}
        hours, alias = given.get("hours", 24), given.get("alias", "default")
        figures = read(hours, alias)
        if self.variable is not None:
            context[self.variable] = figures
            return ""
        if figures is None:
            return ""
        template = context.template.engine.get_template(TEMPLATE)  # type: ignore[union-attr]
        shown = {"figures": figures, "hours": hours, "alias": alias}
        return template.render(context.new(shown))


def read(hours: Any, alias: Any) -> stats.Figures | None:
    """The figures of the last hours; None, logged, if they cannot be read.

    Raises:
        TemplateSyntaxError: `hours` is no number above 0.
    """
    try:
        span = timedelta(hours=float(hours))
        start = timezone.now() - span
        wrong = span <= timedelta(0)
    except (TypeError, ValueError, OverflowError):
        wrong = True
    if wrong:
        raise TemplateSyntaxError(f"llmcache_stats: hours must be a number above 0, not {hours!r}.")
    try:
        rows = stats.selected(start, alias=alias)
        with _apart(rows.db):
            return stats.summary(rows)
    except Exception as error:
        warn_once("stats_error", "The figures cannot be shown: %s", type(error).__name__)
        return None


def _apart(database: str) -> AbstractContextManager[Any]:
    """A savepoint, where a query that fails would spoil the page's own transaction."""
    if connections[database].in_atomic_block:
        return transaction.atomic(using=database)
    return nullcontext()
