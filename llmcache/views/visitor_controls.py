"""What a visitor may ask of the cache by a header of the request."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.http import HttpRequest

from llmcache.controls import NO_CONTROLS, Controls, parse
from llmcache.http import cache_control
from llmcache.request_headers import header


def asked_for(request: HttpRequest, allowed: Collection[str], base: Controls) -> dict[str, Any]:
    """What the visitor's Cache-Control changes in the view's controls."""
    said, pragma = header(request, "Cache-Control"), header(request, "Pragma")
    if said is None and pragma is None:
        return {}
    found = cache_control.controls_of(said, allowed, pragma)
    if not found:
        return {}
    asked = parse(found)
    names = ("no_cache", "no_store", "only_if_cached", "s_maxage", "stale_if_error")
    changes = {
        name: getattr(asked, name)
        for name in names
        if getattr(asked, name) != getattr(NO_CONTROLS, name)
    }
    if base.s_maxage is not None and "s_maxage" in changes:
        changes["s_maxage"] = min(base.s_maxage, changes["s_maxage"])
    return changes
