"""A client's `Cache-Control` header as cache controls.

After RFC 9111 section 5.2.1 and RFC 5861: `no-cache`, `no-store`, `max-age`, `only-if-cached` and
`stale-if-error`. What this cache has no word for is ignored, as the RFC asks.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

from llmcache.configuration import CLIENTS_MAY

_FLAGS: Final = frozenset({"no-cache", "no-store", "only-if-cached"})
_SECONDS: Final = {"max-age": "s-maxage", "stale-if-error": "stale-if-error"}
_ELEMENT: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
"""A directive with its argument; a comma within quotes does not end it."""
_MOST_DIGITS: Final = 10
_LONGEST: Final = 2**31
"""Seconds: what RFC 9111 section 1.2.2 lets a cache take a greater number for."""


def controls_of(
    header: str | None, allowed: Collection[str] = CLIENTS_MAY, pragma: str | None = None
) -> dict[str, Any]:
    """The `cache` argument of a call that a request's header amounts to.

    Args:
        header: the value of `Cache-Control`, if the request has one.
        allowed: the directives that clients may use; the others are ignored.
        pragma: the value of `Pragma`, which says `no-cache` where there is no `Cache-Control`.
    """
    if header is None:
        words = (pragma or "").lower().split(",")
        header = "no-cache" if "no-cache" in (word.strip() for word in words) else ""
    controls: dict[str, Any] = {}
    for element in _ELEMENT.findall(header):
        name, _, value = element.partition("=")
        name = name.strip().lower()
        if name not in allowed:
            continue
        if name in _FLAGS:
            controls[name] = True
        elif name in _SECONDS:
            control, seconds = _SECONDS[name], _seconds(value.strip().strip('"'))
            controls[control] = min(seconds, controls.get(control, seconds))
    return controls


def _seconds(value: str) -> int:
    """An age. One that cannot be read counts as passed: no answer is fresh enough."""
    if not (value.isascii() and value.isdigit()):
        return 0
    value = value.lstrip("0") or "0"
    return _LONGEST if len(value) > _MOST_DIGITS else min(int(value), _LONGEST)
