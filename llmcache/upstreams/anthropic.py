"""Anthropic's Messages API, and servers that speak it, over pooled httpx clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmcache.upstreams.openai import DEFAULTS, OpenAICompatible

_OPENAIS: Final = frozenset({"organization", "project", "stream_usage"})
ANTHROPIC_DEFAULTS: Final[Mapping[str, Any]] = {
    **{name: value for name, value in DEFAULTS.items() if name not in _OPENAIS},
    "anthropic_version": "2023-06-01",
    "api_key_env": "ANTHROPIC_API_KEY",
    "base_url": "https://api.anthropic.com/v1",
}


class Anthropic(OpenAICompatible):
    """A provider of `llmcache.messages()`.

    OPTIONS:
        anthropic_version (str): the version of the API. Part of the key.

    The others are those of OpenAICompatible but for `organization`, `project` and `stream_usage`.
    """

    kinds = frozenset({"messages"})
    protocol = "anthropic"
    defaults = ANTHROPIC_DEFAULTS

    def own_headers(self, key: str) -> dict[str, str | None]:
        return {
            "X-Api-Key": key or None,
            "Anthropic-Version": self._options["anthropic_version"],
        }
