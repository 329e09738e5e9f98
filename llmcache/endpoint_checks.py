"""System checks of the endpoint: who may call it, and where its limits are counted.

llmcache.E008   ENDPOINT_CACHE names no alias of CACHES
llmcache.W111   the limits of the endpoint's keys are counted by each process for itself
"""

from __future__ import annotations

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.urls import NoReverseMatch, Resolver404, get_resolver

from llmcache import conf

_OF_ONE_PROCESS = (
    "django.core.cache.backends.dummy.DummyCache",
    "django.core.cache.backends.locmem.LocMemCache",
)


def check_endpoint() -> list[CheckMessage]:
    """All messages about the endpoint."""
    alias = conf.config().endpoint_cache
    if alias not in settings.CACHES:
        return [
            Error(
                f"LLMCACHE_CONFIG['ENDPOINT_CACHE'] is {alias!r}, which is no alias of CACHES.",
                hint=f"Name one of {', '.join(sorted(settings.CACHES))}.",
                id="llmcache.E008",
            )
        ]
    backend = settings.CACHES[alias].get("BACKEND")
    if settings.DEBUG or backend not in _OF_ONE_PROCESS or not _is_included():
        return []
    return [
        Warning(
            f"The limits of virtual keys are counted in CACHES[{alias!r}], which each process has "
            "for itself: with several processes, each key may do several times as much.",
            hint="Name a cache that all processes share in LLMCACHE_CONFIG['ENDPOINT_CACHE'].",
            id="llmcache.W111",
        )
    ]


def _is_included() -> bool:
    """Whether the site's URLs include the endpoint."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return False
    try:
        return "llmcache" in get_resolver().app_dict
    except (ImportError, NoReverseMatch, Resolver404):
        return False  # Django's own check says what is wrong with the URLs
