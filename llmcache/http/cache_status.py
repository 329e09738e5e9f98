"""Where an answer came from, as response headers: `Age`, `Cache-Status` and `X-LLMCache-*`.

After RFC 9111 section 5.1 and RFC 9211, whose words `hit`, `fwd`, `ttl`, `stored`, `collapsed`,
`key` and `detail` say what our outcomes mean to other caches.
"""

from __future__ import annotations

import math
import re
from time import time
from typing import Final

from llmcache.outcome import BYPASS, COALESCED, ERROR, HIT, STALE, CacheInfo
from llmcache.pricing import cost_of

CACHE: Final = "llmcache"
"""The name of this cache in `Cache-Status`."""
_NOT_PRINTABLE: Final = re.compile(r"[^\x20-\x7e]")
_LONGEST_DETAIL: Final = 200
_FORWARDED: Final = {
    "no-cache": "request",
    "older than s-maxage": "request",
    "past its ttl": "stale",
}


def headers_for(info: CacheInfo, *, expose: bool = True) -> dict[str, str]:
    """The headers that tell a client where its answer came from. None of them shows a prompt, a
    scope or a credential.

    Args:
        expose: False leaves out the entry's key, the reasons and all figures.
    """
    if not expose:
        bare = {"Cache-Status": _status(info, expose=False)}
        return bare | ({"Age": str(int(info.age))} if info.outcome in (HIT, STALE) else {})
    headers = {"Cache-Status": _status(info), "X-LLMCache-Outcome": info.outcome}
    if info.outcome in (HIT, STALE):
        headers["Age"] = str(int(info.age))
        headers["X-LLMCache-Layer"] = _printable(info.layer)
    if info.key:
        headers["X-LLMCache-Key"] = _printable(info.key)
    if info.similarity is not None and info.match is not None:
        headers["X-LLMCache-Similarity"] = f"{info.similarity:.4f}"
    if info.items is not None:
        headers["X-LLMCache-Items"] = f"{info.items[0]}/{info.items[1]}"
    if info.hit and (saved := info.saved_usage).total:
        headers["X-LLMCache-Saved-Tokens"] = str(saved.total)
        if cost := cost_of(info.priced_as, saved):
            headers["X-LLMCache-Saved-Cost"] = f"{cost:.8f}".rstrip("0")
    return headers


def not_cached(digest: str | None) -> dict[str, str]:
    """The headers of a 504: `only-if-cached` was asked for and nothing answers."""
    headers = {
        "Cache-Status": f'{CACHE}; fwd=miss; detail="only-if-cached"',
        "X-LLMCache-Outcome": "miss",
    }
    return headers | ({"X-LLMCache-Key": _printable(digest)} if digest else {})


def _status(info: CacheInfo, *, expose: bool = True) -> str:
    said = [CACHE]
    partial = info.items is not None and 0 < info.items[0] < info.items[1]
    if info.outcome in (HIT, STALE):
        said.append("hit")
        expires = getattr(info.source, "expires", math.inf)
        if info.items is None and math.isfinite(expires):
            said.append(f"ttl={math.floor(expires - time())}")
    elif info.outcome == BYPASS:
        said.append("fwd=bypass")
    elif partial:
        said.append("fwd=partial")
    else:
        said.append(f"fwd={_FORWARDED.get(info.reason, 'miss')}")
        if info.outcome == COALESCED:
            said.append("collapsed")
    if info.stored:
        said.append("stored")
    if not expose:
        return "; ".join(said)
    if info.key:
        said.append(f"key={_quoted(info.key)}")
    if info.outcome == ERROR:
        said.append('detail="the store failed"')
    elif info.reason and info.outcome != BYPASS:
        said.append(f"detail={_quoted(info.reason)}")
    return "; ".join(said)


def _printable(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return _NOT_PRINTABLE.sub("?", text)


def _quoted(text: str) -> str:
    """A string of RFC 8941: printable ASCII, quotes and backslashes escaped."""
    shown = _printable(text[:_LONGEST_DETAIL])
    if "\\" in shown or '"' in shown:
        shown = shown.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{shown}"'
