"""Calls that do more than answer: they change something at the provider or beyond, so that an
answer from the cache would not be the same. They always go to the provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

ACTING: Final = frozenset({"background", "container", "conversation", "mcp_servers"})
"""Parameters: an answer that comes later, a conversation or a container that grows, tools of other
servers, which may act."""


def has_effects(params: Mapping[str, Any]) -> bool:
    """Whether a call, by its parameters, has effects besides its answer."""
    if not ACTING.isdisjoint(params) and any(params.get(name) for name in ACTING):
        return True
    if "tools" not in params:
        return False
    tools = params["tools"]
    return isinstance(tools, list) and any(isinstance(tool, dict) and _acts(tool) for tool in tools)


def _acts(tool: Mapping[str, Any]) -> bool:
    # A container by its id outlives the call; a new one of type "auto" does not.
    place = tool.get("environment")
    named = isinstance(place, dict) and "container_id" in place
    return tool.get("type") == "mcp" or isinstance(tool.get("container"), str) or named
