"""Settings, read lazily into frozen dataclasses and forgotten when a test changes them.

This module imports no model, no store and no provider library; it only turns `settings.LLMCACHE`,
`LLMCACHE_PROVIDERS` and `LLMCACHE_CONFIG` into checked values. A wrong value raises
`ImproperlyConfigured` on first use and is a system check error at start (`checks.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from llmcache.exceptions import InvalidRequest

T = TypeVar("T")

DEFAULT_ALIAS: Final = "default"
DEFAULT_PROVIDER: Final = "default"
DEFAULT_BACKEND: Final = "llmcache.backends.django.DjangoCacheBackend"
DEFAULT_UPSTREAM: Final = "llmcache.upstreams.openai.OpenAICompatible"
MODES: Final = ("on", "default_off", "off")
WRITERS: Final = ("inline", "thread")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSettings:
    """One alias of `LLMCACHE`, the shape of Django's CACHES and STORAGES.

    Attributes:
        timeout: default time to live in seconds; None keeps entries until evicted; 0 stores
            nothing.
        key_prefix, version: both are part of every stored key; a change of either starts afresh.
        options: what the backend class takes; each class names its own.
    """

    alias: str
    backend: str = DEFAULT_BACKEND
    location: str = ""
    timeout: float | None = 86400
    key_prefix: str = ""
    version: int = 1
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """One provider of `LLMCACHE_PROVIDERS`; the model "groq/x" goes to the provider "groq"."""

    name: str
    backend: str = DEFAULT_UPSTREAM
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """`LLMCACHE_CONFIG`: one value per upper-case key.

    Attributes:
        scope: whose answers these are: a callable without arguments that returns a string or None,
            or its dotted path; None for answers that all callers share.
        mode: "on", "default_off" (only calls with `cache={"use-cache": True}`), or "off".
        writer: "inline" stores before the caller gets the answer, "thread" after it.
        backend_timeout: seconds that a store on the network may take before it counts as failed.
        breaker_threshold: failures in a row after which an alias is left alone.
        breaker_cooldown: seconds it is left alone before one call tries it again.
        single_flight: whether identical calls in flight share one upstream call.
        single_flight_timeout: seconds a follower waits for its leader before it asks for itself.
        ttl_jitter: share of the ttl (0 to 0.5) taken off at random, so entries don't expire
            together.
        compress_min_bytes: payloads of this size and more are compressed; 0 compresses none.
        store_truncated: whether answers cut by a length limit or a content filter may be stored.
        pricing: prices per million tokens by model, such as
            {"gpt-4o-mini": {"input": 0.15, "output": 0.6}}.
        default_stale_if_error: seconds past its ttl that an entry may answer while upstream fails.
    """

    scope: str | Callable[[], str | None] | None = None
    mode: str = "on"
    writer: str = "inline"
    backend_timeout: float = 0.25
    breaker_threshold: int = 5
    breaker_cooldown: float = 5.0
    single_flight: bool = True
    single_flight_timeout: float = 120.0
    ttl_jitter: float = 0.0
    compress_min_bytes: int = 16384
    store_truncated: bool = False
    default_stale_if_error: float = 0.0
    pricing: Mapping[str, Any] | None = None


def _require(ok: bool, name: str, value: object, want: str) -> None:
    if not ok:
        raise ImproperlyConfigured(f"{name} must be {want}, not {value!r}.")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    _require(isinstance(value, Mapping), name, value, "a dict")
    return value  # type: ignore[return-value]


def refuse_unknown(what: str, given: Iterable[str], known: Collection[str]) -> None:
    """Make sure that settings hold no name that nobody reads.

    Args:
        what: what kind of name it is, in the singular, as `InvalidRequest.unknown` takes it.

    Raises:
        ImproperlyConfigured: a name is not among the known ones, which are listed.
    """
    for name in given:
        if name not in known:
            raise ImproperlyConfigured(str(InvalidRequest.unknown(what, name, known)))


def _read_backend(alias: str, raw: object) -> BackendSettings:
    name = f"LLMCACHE[{alias!r}]"
    given = _mapping(raw, name)
    refuse_unknown(
        f"key of {name}",
        given,
        {"BACKEND", "LOCATION", "TIMEOUT", "KEY_PREFIX", "VERSION", "OPTIONS"},
    )
    timeout = given.get("TIMEOUT", 86400)
    _require(
        timeout is None or (_is_number(timeout) and timeout >= 0),
        f"{name}['TIMEOUT']",
        timeout,
        "a number of seconds that is not negative, or None for no end",
    )
    version = given.get("VERSION", 1)
    _require(
        isinstance(version, int) and not isinstance(version, bool),
        f"{name}['VERSION']",
        version,
        "an integer",
    )
    for key in ("BACKEND", "LOCATION", "KEY_PREFIX"):
        value = given.get(key, "")
        _require(isinstance(value, str), f"{name}[{key!r}]", value, "a string")
    return BackendSettings(
        alias=alias,
        backend=given.get("BACKEND", DEFAULT_BACKEND),
        location=given.get("LOCATION", ""),
        timeout=timeout,
        key_prefix=given.get("KEY_PREFIX", ""),
        version=version,
        options=dict(_mapping(given.get("OPTIONS", {}), f"{name}['OPTIONS']")),
    )


def _read_backends() -> dict[str, BackendSettings]:
    raw = _mapping(getattr(settings, "LLMCACHE", {}), "LLMCACHE")
    aliases = {alias: _read_backend(alias, value) for alias, value in raw.items()}
    aliases.setdefault(DEFAULT_ALIAS, BackendSettings(alias=DEFAULT_ALIAS, location="default"))
    return aliases


def _read_providers() -> dict[str, ProviderSettings]:
    raw = _mapping(getattr(settings, "LLMCACHE_PROVIDERS", {}), "LLMCACHE_PROVIDERS")
    providers = {}
    for provider, value in raw.items():
        name = f"LLMCACHE_PROVIDERS[{provider!r}]"
        given = _mapping(value, name)
        refuse_unknown(f"key of {name}", given, {"BACKEND", "OPTIONS"})
        providers[provider] = ProviderSettings(
            name=provider,
            backend=given.get("BACKEND", DEFAULT_UPSTREAM),
            options=dict(_mapping(given.get("OPTIONS", {}), f"{name}['OPTIONS']")),
        )
    providers.setdefault(DEFAULT_PROVIDER, ProviderSettings(name=DEFAULT_PROVIDER))
    return providers


def _read_config() -> Config:
    raw = _mapping(getattr(settings, "LLMCACHE_CONFIG", {}), "LLMCACHE_CONFIG")
    known = {f.name.upper() for f in fields(Config)}
    refuse_unknown("key of LLMCACHE_CONFIG", raw, known)
    values = {key.lower(): value for key, value in raw.items()}
    config = Config(**values)

    def require(ok: bool, attribute: str, want: str) -> None:
        name = f"LLMCACHE_CONFIG[{attribute.upper()!r}]"
        _require(ok, name, getattr(config, attribute), want)

    require(config.mode in MODES, "mode", f"one of {', '.join(MODES)}")
    require(config.writer in WRITERS, "writer", f"one of {', '.join(WRITERS)}")
    for attribute in ("backend_timeout", "breaker_cooldown", "single_flight_timeout"):
        value = getattr(config, attribute)
        require(_is_number(value) and value > 0, attribute, "a number of seconds above 0")
    stale = config.default_stale_if_error
    require(
        _is_number(stale) and stale >= 0,
        "default_stale_if_error",
        "a number of seconds that is not negative",
    )
    jitter = config.ttl_jitter
    require(_is_number(jitter) and 0 <= jitter <= 0.5, "ttl_jitter", "a share from 0 to 0.5")
    for attribute, least in (("breaker_threshold", 1), ("compress_min_bytes", 0)):
        value = getattr(config, attribute)
        require(type(value) is int and value >= least, attribute, f"an integer from {least} up")
    for attribute in ("single_flight", "store_truncated"):
        require(type(getattr(config, attribute)) is bool, attribute, "True or False")
    require(
        config.scope is None or isinstance(config.scope, str) or callable(config.scope),
        "scope",
        "None, or a callable that returns a string, or its dotted path",
    )
    for model, price in _mapping(config.pricing or {}, "LLMCACHE_CONFIG['PRICING']").items():
        name = f"LLMCACHE_CONFIG['PRICING'][{model!r}]"
        given = _mapping(price, name)
        refuse_unknown(f"key of {name}", given, {"input", "output", "cached"})
        for part, rate in given.items():
            want = "a number that is not negative"
            _require(_is_number(rate) and rate >= 0, f"{name}[{part!r}]", rate, want)
    return config


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
        _config = _read_config()
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
