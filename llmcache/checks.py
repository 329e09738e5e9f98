"""System checks: every setting is read, every backend and provider built, before the first call.

    llmcache.E001   LLMCACHE_CONFIG cannot be used: an unknown key, a wrong value
    llmcache.E002   LLMCACHE cannot be used: an unknown key, a wrong value, a missing package
    llmcache.E003   LLMCACHE_PROVIDERS cannot be used: an unknown key, a wrong value
    llmcache.E004   a function that LLMCACHE_CONFIG names cannot be imported, or is none
    llmcache.E006   TAG_MODELS names no model, or needs the index while RECORDER is "off"
    llmcache.E009   ENCRYPTION_KEYS cannot be used: no key, one twice, a missing package
    llmcache.W109   nothing is recorded without time zones

The others are in `backends.checks`, `endpoint_checks`, `queue_checks` and `semantic_checks`. None
of them reaches for the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from llmcache import (
    backends,
    conf,
    encryption,
    endpoint_checks,
    queue_checks,
    semantic_checks,
    upstreams,
)
from llmcache.exceptions import InvalidRequest

_DOCS = "See the settings reference in the documentation of django-llmcache."


def check_settings(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
    """All messages about this app's settings."""
    messages = _read(conf.config, "llmcache.E001")
    if not messages:
        for name in _WANTED:
            messages += _check_function(name)
        messages += _read(encryption.ring, "llmcache.E009")
        messages += _check_tag_models()
        messages += _check_time_zones()
        messages += queue_checks.check_queues()
        messages += endpoint_checks.check_endpoint()
    aliases = _read(conf.backends, "llmcache.E002")
    if not aliases:
        for alias in conf.backends():
            aliases += _built(partial(backends.stores.__getitem__, alias), "llmcache.E002")
    if not any(message.is_serious() for message in (*messages, *aliases)):
        messages += queue_checks.check_reach()
        messages += semantic_checks.check_matching()
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


def _check_function(name: str) -> list[CheckMessage]:
    path = getattr(conf.config(), name)
    if not isinstance(path, str) or path in ("user", "session"):
        return []
    try:
        function = import_string(path)
    except ImportError as error:
        problem = f"cannot be imported: {error}"
    else:
        if callable(function):
            return []
        problem = "is not callable"
    return [
        Error(
            f"LLMCACHE_CONFIG[{name.upper()!r}] is {path!r}, which {problem}",
            hint=f"Give a function that {_WANTED[name]}, or its dotted path.",
            id="llmcache.E004",
        )
    ]


_WANTED = {
    "scope": "takes no arguments and returns a string or None",
    "request_scope": "takes a request and returns a string or None",
    "endpoint_auth": "takes a request and returns a Holder or None",
    "redact": "takes a text and returns what of it may be kept",
    "caller": "takes no arguments and returns a string or None",
}


def _check_time_zones() -> list[CheckMessage]:
    if settings.USE_TZ or conf.config().recorder == "off":
        return []
    return [
        Warning(
            "Nothing is recorded, as USE_TZ is False: the index, the log and the admin stay empty.",
            hint="Set USE_TZ to True, or LLMCACHE_CONFIG['RECORDER'] to 'off'.",
            id="llmcache.W109",
        )
    ]


def _check_tag_models() -> list[CheckMessage]:
    config = conf.config()
    messages: list[CheckMessage] = []
    for label in config.tag_models:
        try:
            apps.get_model(label)
        except (LookupError, ValueError) as error:
            messages.append(
                Error(
                    f"LLMCACHE_CONFIG['TAG_MODELS'] names {label!r}, which is no model: {error}",
                    hint='Write "app_label.ModelName" of an app in INSTALLED_APPS.',
                    id="llmcache.E006",
                )
            )
    if config.tag_models and config.recorder == "off":
        messages.append(
            Error(
                "LLMCACHE_CONFIG['TAG_MODELS'] needs the index to find what an object tags, but "
                "RECORDER is 'off'.",
                hint="Set RECORDER to 'database', or leave out TAG_MODELS.",
                id="llmcache.E006",
            )
        )
    return messages
