"""Settings, read lazily into frozen dataclasses and forgotten when a test changes them.

This module imports no model, no store and no provider library; it only turns `settings.LLMCACHE`,
`LLMCACHE_PROVIDERS` and `LLMCACHE_CONFIG` into checked values. A wrong value raises
`ImproperlyConfigured` on first use and is a system check error at start (`checks.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from llmcache.configuration import (
    Config,
    is_number,
    mapping,
    read_config,
    require,
)
from llmcache.configuration import refuse_unknown as refuse_unknown
from llmcache.exceptions import InvalidRequest

T = TypeVar("T")

DEFAULT_ALIAS: Final = "default"
DEFAULT_PROVIDER: Final = "default"
DEFAULT_BACKEND: Final = "llmcache.backends.django.DjangoCacheBackend"
DEFAULT_UPSTREAM: Final = "llmcache.upstreams.openai.OpenAICompatible"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSettings:
    """One alias of `LLMCACHE`, the shape of Django's CACHES and STORAGES.

    Attributes:
        backend: dotted path of the class.
        location: where the store is; each class says how.
        timeout: seconds that an entry lives; None for until it is evicted, 0 stores nothing.
        key_prefix, version: part of every stored key; a change of either starts afresh.
        options: what the class takes; each names its own.

    A URL may hold a password, so no repr shows the location, nor the options.
    """

    alias: str
    backend: str = DEFAULT_BACKEND
    location: str = field(default="", repr=False)
    timeout: float | None = 86400
    key_prefix: str = ""
    version: int = 1
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def setting(self) -> str:
        """Where it stands in the settings."""
        return f"LLMCACHE[{self.alias!r}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """One provider of `LLMCACHE_PROVIDERS`; the model "groq/x" goes to the provider "groq".

    Attributes:
        backend: dotted path of the class.
        options: what the class takes; each names its own.
    """

    name: str
    backend: str = DEFAULT_UPSTREAM
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def setting(self) -> str:
        """Where it stands in the settings."""
        return f"LLMCACHE_PROVIDERS[{self.name!r}]"


def _read_backend(alias: str, raw: object) -> BackendSettings:
    name = f"LLMCACHE[{alias!r}]"
    given = mapping(raw, name)
    refuse_unknown(
        f"key of {name}",
        given,
        {"BACKEND", "LOCATION", "TIMEOUT", "KEY_PREFIX", "VERSION", "OPTIONS"},
    )
    timeout = given.get("TIMEOUT", 86400)
    require(
        timeout is None or (is_number(timeout) and timeout >= 0),
        f"{name}['TIMEOUT']",
        timeout,
        "a number of seconds that is not negative, or None for no end",
    )
    version = given.get("VERSION", 1)
    require(
        isinstance(version, int) and not isinstance(version, bool),
        f"{name}['VERSION']",
        version,
        "an integer",
    )
    for key in ("BACKEND", "LOCATION", "KEY_PREFIX"):
        value = given.get(key, "")
        require(isinstance(value, str), f"{name}[{key!r}]", value, "a string")
    return BackendSettings(
        alias=alias,
        backend=given.get("BACKEND", DEFAULT_BACKEND),
        location=given.get("LOCATION", ""),
        timeout=timeout,
        key_prefix=given.get("KEY_PREFIX", ""),
        version=version,
        options=dict(mapping(given.get("OPTIONS", {}), f"{name}['OPTIONS']")),
    )


def _read_backends() -> dict[str, BackendSettings]:
    raw = mapping(getattr(settings, "LLMCACHE", {}), "LLMCACHE")
    aliases = {alias: _read_backend(alias, value) for alias, value in raw.items()}
    aliases.setdefault(DEFAULT_ALIAS, BackendSettings(alias=DEFAULT_ALIAS, location="default"))
    return aliases


def _read_providers() -> dict[str, ProviderSettings]:
    raw = mapping(getattr(settings, "LLMCACHE_PROVIDERS", {}), "LLMCACHE_PROVIDERS")
    providers = {}
    for provider, value in raw.items():
        name = f"LLMCACHE_PROVIDERS[{provider!r}]"
        given = mapping(value, name)
        refuse_unknown(f"key of {name}", given, {"BACKEND", "OPTIONS"})
        providers[provider] = ProviderSettings(
            name=provider,
            backend=given.get("BACKEND", DEFAULT_UPSTREAM),
            options=dict(mapping(given.get("OPTIONS", {}), f"{name}['OPTIONS']")),
        )
    providers.setdefault(DEFAULT_PROVIDER, ProviderSettings(name=DEFAULT_PROVIDER))
    return providers


def class_at(setting: str, path: str, base: type[T]) -> type[T]:
    """The class at a dotted path.

    Args:
        setting: where the path was read, for the error.

    Raises:
        ImproperlyConfigured: it cannot be imported, or is no subclass of the base.
    """
    try:
        found = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(
            f"{setting} is {path!r}, which cannot be imported: {error}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ImproperlyConfigured(
            f"{setting} is {path!r}, which is not a subclass of "
            f"{base.__module__}.{base.__qualname__}."
        )
    return found


def named_class(
    setting: str, spec: object, known: Mapping[str, str]
) -> tuple[str, Mapping[str, Any]]:
    """The dotted path and the options of what an option names.

    Args:
        setting: where the option stands, for the error.
        spec: a short name, a dotted path, or `{"BACKEND": either, "OPTIONS": {...}}`.
        known: the short names' dotted paths.

    Raises:
        ImproperlyConfigured: it has another shape, or names nothing.
    """
    given = {"BACKEND": spec} if isinstance(spec, str) else mapping(spec, setting)
    refuse_unknown(f"key of {setting}", given, {"BACKEND", "OPTIONS"})
    name = given.get("BACKEND")
    require(isinstance(name, str) and name != "", f"{setting}['BACKEND']", name, "a string")
    if name not in known and "." not in str(name):
        raise ImproperlyConfigured(str(InvalidRequest.unknown(f"name in {setting}", name, known)))
    options = mapping(given.get("OPTIONS", {}), f"{setting}['OPTIONS']")
    return known.get(str(name), str(name)), options


_backends: dict[str, BackendSettings] | None = None
_providers: dict[str, ProviderSettings] | None = None
_config: Config | None = None


def backends() -> dict[str, BackendSettings]:
    """All aliases of `LLMCACHE`; "default" is always among them."""
    global _backends
    if _backends is None:
        _backends = _read_backends()
    return _backends


def providers() -> dict[str, ProviderSettings]:
    """All providers of `LLMCACHE_PROVIDERS`; "default" is always among them."""
    global _providers
    if _providers is None:
        _providers = _read_providers()
    return _providers


def config() -> Config:
    """`LLMCACHE_CONFIG` with its defaults."""
    global _config
    if _config is None:
        _config = read_config(getattr(settings, "LLMCACHE_CONFIG", {}))
    return _config


def reset(*, setting: str, **kwargs: object) -> None:
    """Forget what was read when a test overrides a setting (receiver of `setting_changed`)."""
    global _backends, _providers, _config
    if setting == "LLMCACHE":
        _backends = None
    elif setting == "LLMCACHE_PROVIDERS":
        _providers = None
    elif setting == "LLMCACHE_CONFIG":
        _config = None


setting_changed.connect(reset, dispatch_uid="llmcache.conf.reset")
