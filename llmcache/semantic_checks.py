"""System checks of stores that are searched by meaning.

    llmcache.E007   REQUIRE_SCOPE is set, and nothing gives calls a scope
    llmcache.W110   answers to similar prompts are shared by all callers

OPTIONS of matching that cannot be used are `llmcache.E002`.
"""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from llmcache import backends, conf
from llmcache.exceptions import InvalidRequest
from llmcache.store import semantic_part


def check_matching() -> list[CheckMessage]:
    """Messages about all aliases that are searched by meaning; the stores can be built."""
    messages: list[CheckMessage] = []
    for alias in conf.backends():
        backend = semantic_part(backends.stores[alias])
        if backend is None or backend.alias != alias:  # a layer has an alias of its own
            continue
        from llmcache.matching import rules

        try:
            found = rules.read(backend)
        except (ImproperlyConfigured, InvalidRequest) as error:
            messages.append(Error(str(error), id="llmcache.E002"))
            continue
        messages += found.embedder.check()
        if found.judge is not None:
            messages += found.judge.check()
        messages += _check_scope(alias)
    return messages


def _check_scope(alias: str) -> list[CheckMessage]:
    config = conf.config()
    if config.scope is not None:
        return []
    if config.require_scope:
        return [
            Error(
                f"LLMCACHE_CONFIG['REQUIRE_SCOPE'] is True, and no SCOPE says whose answers those "
                f"of LLMCACHE[{alias!r}] are: only calls with cache={{'scope': ...}} match.",
                hint="Set LLMCACHE_CONFIG['SCOPE'] to a function that returns the tenant's or "
                "user's id.",
                id="llmcache.E007",
            )
        ]
    return [
        Warning(
            f"LLMCACHE[{alias!r}] answers similar prompts, and all callers share the answers: one "
            "user's answer may serve another's prompt.",
            hint="Set LLMCACHE_CONFIG['SCOPE'] to a function that returns the tenant's or user's "
            "id. If the answers are for everybody, silence this check.",
            id="llmcache.W110",
        )
    ]
