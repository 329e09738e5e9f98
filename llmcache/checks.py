"""System checks: every setting is read, every backend and provider built, before the first call.

    llmcache.E001   LLMCACHE_CONFIG cannot be used
    llmcache.E002   LLMCACHE cannot be used
    llmcache.E003   LLMCACHE_PROVIDERS cannot be used
    llmcache.E004   LLMCACHE_CONFIG["SCOPE"] cannot be imported
    llmcache.E1xx, W1xx   of single backends, in `llmcache.backends`
    llmcache.E2xx, W2xx   of single providers, in `llmcache.upstreams`

None of them reaches for the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from llmcache import backends, conf, upstreams
from llmcache.exceptions import InvalidRequest

_DOCS = "See the settings reference in the documentation of django-llmcache."


def check_settings(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
    """All messages about this app's settings."""
    messages = _read(conf.config, "llmcache.E001")
    messages += _check_scope() if not messages else []
    aliases = _read(conf.backends, "llmcache.E002")
    if not aliases:
        for alias in conf.backends():
            aliases += _built(partial(backends.stores.__getitem__, alias), "llmcache.E002")
    providers = _read(conf.providers, "llmcache.E003")
    if not providers:
        for name in conf.providers():
            providers += _built(partial(upstreams.upstreams.__getitem__, name), "llmcache.E003")
    return [*messages, *aliases, *providers]


def _read(function: Callable[[], Any], check_id: str) -> list[CheckMessage]:
    try:
        function()
    except (ImproperlyConfigured, InvalidRequest) as error:
        return [Error(str(error), hint=_DOCS, id=check_id)]
    return []


def _built(function: Callable[[], Any], check_id: str) -> Iterable[CheckMessage]:
    try:
        messages: list[CheckMessage] = function().check()
    except (ImproperlyConfigured, InvalidRequest) as error:
        return [Error(str(error), hint=_DOCS, id=check_id)]
    return messages


def _check_scope() -> list[CheckMessage]:
    scope = conf.config().scope
    if not isinstance(scope, str):
        return []
    try:
        function = import_string(scope)
    except ImportError as error:
        problem = f"cannot be imported: {error}"
    else:
        if callable(function):
            return []
        problem = "is not callable"
    return [
        Error(
            f"LLMCACHE_CONFIG['SCOPE'] is {scope!r}, which {problem}",
            hint="Give a callable without arguments that returns a string or None, or "
            "its dotted path.",
            id="llmcache.E004",
        )
    ]
