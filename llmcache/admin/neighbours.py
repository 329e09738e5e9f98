"""What comes near a question in a store that is searched by meaning, as a table."""

from __future__ import annotations

from typing import Any, Final

from django.utils.translation import gettext as _

from llmcache import caching, conf, matching
from llmcache.admin import formats
from llmcache.matching import Matcher, inspecting
from llmcache.matching.inspecting import Inspected, NotInspectable
from llmcache.matching.question import Question
from llmcache.models import Entry

SHORT: Final = 300
"""Characters of a prompt in a table."""


def matcher_of(alias: str) -> Matcher | None:
    """The matcher of an alias of the settings; None where it does not match by meaning, or cannot
    just now.
    """
    if alias not in conf.backends():
        return None
    try:
        cache = caching.for_alias(alias)
        return None if cache is None else matching.for_store(cache)
    except Exception:
        return None


def shown(
    alias: str,
    matcher: Matcher,
    question: Question | None,
    *,
    may_read: bool,
    threshold: float | None = None,
    but: str = "",
) -> dict[str, Any]:
    """The nearest stored prompts with their scores and what is said against them.

    Args:
        alias: the store's, which may have the one that is searched by meaning as a layer.
        threshold: to be tried in place of the configured one.
        but: the digest of an entry to leave out.
    """
    least = matcher.rules.least if threshold is None else threshold
    result: dict[str, Any] = {"threshold": f"{least:.3f}", "rows": [], "problem": ""}
    if question is None:
        result["problem"] = _("The call asks nothing in words of a user's, so nothing is similar.")
        return result
    try:
        found = inspecting.neighbours(matcher, question, threshold=threshold)
    except NotInspectable as error:
        result["problem"] = formats.visible(str(error))
        return result
    near = [one for one in found if one.digest != but]
    entries = Entry.objects.filter(alias=alias, digest__in=[one.digest for one in near])
    keys = dict(entries.values_list("digest", "pk"))
    result["rows"] = [_row(one, keys.get(one.digest), may_read) for one in near]
    return result


def _row(one: Inspected, entry: int | None, may_read: bool) -> dict[str, Any]:
    objections = [(name, text) for name, text in one.objections if text]
    if one.rejected:
        verdict, css = _("rejected"), "miss"
    elif not one.near_enough:
        verdict, css = _("not similar enough"), "miss"
    elif objections:
        verdict, css = _("a guard objects"), "miss"
    elif one.to_judge:
        verdict, css = _("the judge decides"), "bypass"
    else:
        verdict, css = _("would serve"), "hit"
    hidden = _("hidden: you may not read prompts")
    return {
        "similarity": f"{one.similarity:.3f}",
        "prompt": formats.beginning(one.prompt, SHORT) if may_read else hidden,
        "entry": entry,
        "digest": one.digest[:12],
        "verdict": verdict,
        "css": css,
        "objections": [
            (name, formats.visible(text) if may_read else "") for name, text in objections
        ],
    }
