"""What no cassette may show: keys, tokens, accounts and passwords, wherever they turn up."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from llmcache.keys import SAFE_HEADERS
from llmcache.upstreams.base import BaseUpstream, UpstreamRequest

HIDDEN: Final = "[hidden]"
_NAMES: Final = re.compile(
    "auth|cookie|key|password|secret|token|organization|project", re.IGNORECASE
)
_VARIABLES: Final = re.compile("(API_KEY|SECRET|TOKEN|PASSWORD)$", re.IGNORECASE)
_HARMLESS: Final = frozenset({"accept-encoding", "user-agent"})
# Shorter ones would be found in the middle of harmless words.
_SHORTEST: Final = 6
_SHORTEST_OF_OTHERS: Final = 12


class Secrets:
    """Texts to hide; one that no traceback shows."""

    def __init__(self, texts: Iterable[str]) -> None:
        longest_first = sorted(set(texts), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def __repr__(self) -> str:
        return HIDDEN

    def hide(self, value: Any) -> Any:
        """JSON with the secrets in its texts replaced."""
        if not self._pattern.pattern:
            return value
        if isinstance(value, str):
            return self._pattern.sub(HIDDEN, value)
        if isinstance(value, list):
            return [self.hide(part) for part in value]
        if isinstance(value, dict):
            return {self.hide(name): self.hide(part) for name, part in value.items()}
        return value


def secrets_of(upstream: BaseUpstream, request: UpstreamRequest) -> Secrets:
    """What to hide from all that is written of a call."""
    found = {value for value in _all(upstream, request) if len(value) >= _SHORTEST}
    # "Bearer abc": the word alone is one, too.
    words = {value.split()[-1] for value in found if value.strip()}
    return Secrets(found | {word for word in words if len(word) >= _SHORTEST})


def _all(upstream: BaseUpstream, request: UpstreamRequest) -> Iterator[str]:
    options = upstream.settings.options
    for name, text in os.environ.items():
        if _VARIABLES.search(name) and len(text) >= _SHORTEST_OF_OTHERS:
            yield text
    texts = {name: value for name, value in options.items() if isinstance(value, str)}
    for name in [name for name in texts if name.endswith("_env")]:
        yield os.environ.get(texts.pop(name), "")
    yield from _named(texts)
    yield request.api_key or ""
    yield from _named(request.extra_headers)
    yield from _named(request.extra_query)
    yield from _named(options.get("default_headers") or {})
    yield from _named(options.get("default_query") or {})
    for url in (request.base_url, options.get("base_url"), options.get("proxy")):
        if isinstance(url, str) and "@" in url:
            parts = urlsplit(url)
            for part in (parts.username, parts.password):
                yield part or ""
                yield unquote(part or "")


def _named(given: Mapping[str, Any]) -> Iterator[str]:
    for name, value in given.items():
        lowered = name.lower()
        if lowered not in _HARMLESS and (lowered in SAFE_HEADERS or _NAMES.search(lowered)):
            yield str(value)
