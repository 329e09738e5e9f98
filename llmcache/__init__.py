"""Caches calls to language models in Django projects.

Nothing is imported until it is used, so the app costs little in INSTALLED_APPS.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmcache.api import (
        acompletion,
        aembedding,
        amessages,
        aresponses,
        atext_completion,
        atranscription,
        completion,
        diff_keys,
        disable_cache,
        embedding,
        enable_cache,
        explain_key,
        messages,
        responses,
        text_completion,
        transcription,
        update_cache,
    )
    from llmcache.caching import Cache
    from llmcache.decorators import cached, cached_completion
    from llmcache.events import CustomLogger
    from llmcache.exceptions import InvalidRequest, LLMCacheError, NotCached, UpstreamError
    from llmcache.maintenance import aevict, evict
    from llmcache.rejecting import areject, reject
    from llmcache.response import Response
    from llmcache.streaming import AsyncStream, Stream

__version__ = "0.1.0"

__all__ = [
    "AsyncStream",
    "Cache",
    "CustomLogger",
    "InvalidRequest",
    "LLMCacheError",
    "NotCached",
    "Response",
    "Stream",
    "UpstreamError",
    "acompletion",
    "aembedding",
    "aevict",
    "amessages",
    "areject",
    "aresponses",
    "atext_completion",
    "atranscription",
    "cached",
    "cached_completion",
    "completion",
    "diff_keys",
    "disable_cache",
    "embedding",
    "enable_cache",
    "evict",
    "explain_key",
    "messages",
    "reject",
    "responses",
    "text_completion",
    "transcription",
    "update_cache",
]

_HOMES = {
    "Cache": "caching",
    "CustomLogger": "events",
    "cached": "decorators",
    "cached_completion": "decorators",
    "InvalidRequest": "exceptions",
    "LLMCacheError": "exceptions",
    "NotCached": "exceptions",
    "Response": "response",
    "AsyncStream": "streaming",
    "Stream": "streaming",
    "UpstreamError": "exceptions",
    "aevict": "maintenance",
    "areject": "rejecting",
    "evict": "maintenance",
    "reject": "rejecting",
}


class _Package(ModuleType):
    """The package itself, so that `llmcache.cache = ...` is checked when it is written."""

    @property
    def cache(self) -> Any:
        """The Cache in force; None when caching is off. Assign a Cache or None to replace it."""
        return import_module("llmcache.state").current()

    @cache.setter
    def cache(self, value: Any) -> None:
        import_module("llmcache.state").use(value)

    @property
    def callbacks(self) -> list[Any]:
        """The CustomLogger objects that hear of every call. Assign or change the list."""
        callbacks: list[Any] = import_module("llmcache.events").callbacks
        return callbacks

    @callbacks.setter
    def callbacks(self, value: list[Any]) -> None:
        import_module("llmcache.events").callbacks[:] = value


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'api')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "cache", "callbacks"})


sys.modules[__name__].__class__ = _Package
