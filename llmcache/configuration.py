"""`LLMCACHE_CONFIG`: its keys, their defaults, and what their values must be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from llmcache.exceptions import InvalidRequest

MODES: Final = ("on", "default_off", "off")
WRITERS: Final = ("inline", "thread", "celery", "django.tasks")
RECORDERS: Final = ("database", "celery", "django.tasks", "off")
PROMPTS_KEPT: Final = ("none", "preview", "full")
LOGGED: Final = ("hit", "stale", "coalesced", "miss", "bypass", "error", "failed")
"""The outcomes that the log tells apart."""
CLIENTS_MAY: Final = frozenset(
    {"no-cache", "no-store", "max-age", "only-if-cached", "stale-if-error"}
)
"""The directives of a client's Cache-Control that are understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """`LLMCACHE_CONFIG`: one value per upper-case key.

    Attributes:
        scope: whose answers these are: a callable without arguments that returns a string or None,
            or its dotted path; None for answers that all callers share. Callers of different scopes
            never share an answer.
        request_scope: whose answers a view's are: "user" (each user, or an anonymous visitor's
            session, has its own), "session", None (all visitors share them), a function of the
            request that returns a string or None, or its dotted path.
        client_controls: the directives of a request's Cache-Control that visitors may use, such as
            ["no-cache", "only-if-cached"]; each lets them cause upstream calls, or spare them.
        require_scope: whether answers to similar prompts may serve only calls that have a scope.
        mode: "on", "default_off" (only calls with `cache={"use-cache": True}`), or "off".
        writer: "inline" stores before the caller gets the answer, "thread" after it, "celery" and
            "django.tasks" in a worker.
        backend_timeout: seconds that a store on the network may take before it counts as failed.
        breaker_threshold: failures in a row after which an alias is left alone.
        breaker_cooldown: seconds it is left alone before one call tries it again.
        single_flight: whether identical calls in flight share one upstream call.
        single_flight_timeout: seconds a follower waits for its leader before it asks for itself.
        single_flight_lease: seconds after which another process takes over from one that was killed
            while it asked upstream.
        endpoint_auth: who may call the endpoint: None for those with a virtual key, or a function
            of the request that returns an `llmcache.virtual_keys.Holder` or None, or its path.
        endpoint_cache: the alias of CACHES in which requests and money of keys are counted.
        endpoint_max_body: bytes that a request to the endpoint may have.
        endpoint_allowed_origins: sites whose pages may call the endpoint from a browser, such as
            ["https://app.example.com"], or ["*"].
        ttl_jitter: share of the ttl (0 to 0.5) taken off at random, so entries don't expire
            together.
        refresh_ttl_on_hit: whether a hit lets its entry live as long as a new one would from then.
        refresh_ttl_max_age: seconds since an answer was made, past which no hit lets it live on.
        compress_min_bytes: payloads of this size and more are compressed; 0 compresses none.
        encryption_keys: what stores that others can read are encrypted with: a list of keys, each
            32 bytes in URL-safe base64, a function that returns one, or its dotted path. The first
            encrypts, all decrypt; "plain" after it lets older entries open that are not encrypted.
        store_truncated: whether answers cut by a length limit or a content filter may be stored.
        pricing: prices per million tokens by model, such as
            {"gpt-4o-mini": {"input": 0.15, "cached": 0.075, "output": 0.6}}; models that it lacks
            are looked up in LiteLLM's table, where that is installed, and in the one that comes
            with this package.
        default_stale_if_error: seconds past its ttl that an entry may answer while upstream fails.
        recorder: where the index, the log and the figures are written: "database" by a thread of
            each process, "celery" and "django.tasks" by a worker, "off" nowhere.
        buffer_size: records that may wait in a process; more are dropped and counted.
        flush_interval: seconds between two writings, and until an eviction reaches all processes.
        log_sample: share of calls, 0 to 1, that get a row of their own in the log, or shares by
            outcome, such as {"hit": 0.001}: those that it lacks are all logged. The figures count
            all calls.
        hit_sample: share of hits, 0 to 1, by which the index counts those of single entries: each
            stands for those beside it. The figures count all of them.
        store_prompts: what the index keeps of prompts: "none", "preview" (200 characters) or
            "full".
        redact: a function of a text that returns what of it may be kept, or its dotted path;
            applied to every text of a prompt.
        retention_days: days that rows of the log, and figures of single hours, are kept; older
            figures are kept by the day.
        caller: a callable without arguments that returns a label for whoever makes the calls, for
            the figures, or its dotted path; a call's own `caller` control comes before it.
        tag_models: models such as "shop.Product" whose objects may be tags: a changed object
            evicts what it tags.
    """

    scope: str | Callable[[], str | None] | None = None
    request_scope: str | Callable[[Any], str | None] | None = "user"
    client_controls: Sequence[str] = ()
    require_scope: bool = False
    mode: str = "on"
    writer: str = "inline"
    backend_timeout: float = 0.25
    breaker_threshold: int = 5
    breaker_cooldown: float = 5.0
    single_flight: bool = True
    single_flight_timeout: float = 120.0
    single_flight_lease: float = 10.0
    endpoint_auth: str | Callable[[Any], Any] | None = None
    endpoint_cache: str = "default"
    endpoint_max_body: int = 20_971_520
    endpoint_allowed_origins: Sequence[str] = ()
    ttl_jitter: float = 0.0
    refresh_ttl_on_hit: bool = False
    refresh_ttl_max_age: float = 604_800.0
    compress_min_bytes: int = 16384
    encryption_keys: Sequence[str] | str | Callable[[], Sequence[str]] = field(
        default=(), repr=False
    )
    store_truncated: bool = False
    default_stale_if_error: float = 0.0
    pricing: Mapping[str, Any] | None = None
    recorder: str = "database"
    buffer_size: int = 10_000
    flush_interval: float = 2.0
    log_sample: float | Mapping[str, float] = 1.0
    hit_sample: float = 1.0
    store_prompts: str = "preview"
    redact: str | Callable[[str], str] | None = None
    retention_days: int = 30
    caller: str | Callable[[], str | None] | None = None
    tag_models: Sequence[str] = ()


def require(ok: bool, name: str, value: object, want: str) -> None:
    """Raise ImproperlyConfigured, unless ok, in words that say what is wanted."""
    if not ok:
        raise ImproperlyConfigured(f"{name} must be {want}, not {value!r}.")


def is_number(value: object) -> bool:
    """Whether the value is an int or a float, and neither a bool nor NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def mapping(value: object, name: str) -> Mapping[str, Any]:
    """The value, if it is a dict; raises ImproperlyConfigured if not."""
    require(isinstance(value, Mapping), name, value, "a dict")
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


def read_config(raw: object) -> Config:
    """`LLMCACHE_CONFIG` as a Config.

    Raises:
        ImproperlyConfigured: an unknown key, or a value that cannot be used.
    """
    given = mapping(raw, "LLMCACHE_CONFIG")
    known = {f.name.upper() for f in fields(Config)}
    refuse_unknown("key of LLMCACHE_CONFIG", given, known)
    config = Config(**{key.lower(): value for key, value in given.items()})
    for attribute, (ok, want) in RULES.items():
        value = getattr(config, attribute)
        require(ok(value), f"LLMCACHE_CONFIG[{attribute.upper()!r}]", value, want)
    _check_prices(mapping(config.pricing or {}, "LLMCACHE_CONFIG['PRICING']"))
    return config


Rule = tuple[Callable[[Any], bool], str]
"""Whether a value can be used, and what it should be, in words."""


def _one_of(names: Sequence[str]) -> Rule:
    return lambda value: value in names, f"one of {', '.join(names)}"


def _whole(least: int) -> Rule:
    return lambda value: type(value) is int and value >= least, f"an integer from {least} up"


def _share(most: float) -> Rule:
    return lambda value: _is_share(value, most), f"a share from 0 to {most:g}"


def _is_share(value: Any, most: float = 1) -> bool:
    return is_number(value) and 0 <= value <= most


def _function(what: str) -> Rule:
    return (
        lambda value: value is None or isinstance(value, str) or callable(value),
        f"None, or {what}, or its dotted path",
    )


_SECONDS: Final[Rule] = lambda v: is_number(v) and v > 0, "a number of seconds above 0"
_FLAG: Final[Rule] = lambda v: type(v) is bool, "True or False"
RULES: Final[dict[str, Rule]] = {
    "scope": _function("a callable that returns a string"),
    "request_scope": (
        lambda v: v is None or callable(v) or v in ("user", "session") or "." in str(v),
        '"user", "session", None, a function of a request, or its dotted path',
    ),
    "client_controls": (
        lambda v: isinstance(v, (list, tuple)) and CLIENTS_MAY.issuperset(v),
        f"a list of {', '.join(sorted(CLIENTS_MAY))}",
    ),
    "require_scope": _FLAG,
    "mode": _one_of(MODES),
    "writer": _one_of(WRITERS),
    "backend_timeout": _SECONDS,
    "breaker_threshold": _whole(1),
    "breaker_cooldown": _SECONDS,
    "single_flight": _FLAG,
    "single_flight_timeout": _SECONDS,
    "single_flight_lease": _SECONDS,
    "endpoint_auth": _function("a function of a request"),
    "endpoint_cache": (lambda v: isinstance(v, str) and bool(v), "an alias of CACHES"),
    "endpoint_max_body": _whole(1),
    "endpoint_allowed_origins": (
        lambda v: (
            isinstance(v, (list, tuple))
            and all(x == "*" or (isinstance(x, str) and "://" in x) for x in v)
        ),
        'a list of origins such as "https://app.example.com", or ["*"]',
    ),
    "ttl_jitter": _share(0.5),
    "refresh_ttl_on_hit": _FLAG,
    "refresh_ttl_max_age": _SECONDS,
    "compress_min_bytes": _whole(0),
    "store_truncated": _FLAG,
    "default_stale_if_error": (
        lambda v: is_number(v) and v >= 0,
        "a number of seconds that is not negative",
    ),
    "recorder": _one_of(RECORDERS),
    "buffer_size": _whole(1),
    "flush_interval": _SECONDS,
    "log_sample": (
        lambda v: (
            all(name in LOGGED and _is_share(share) for name, share in v.items())
            if isinstance(v, Mapping)
            else _is_share(v)
        ),
        f"a share from 0 to 1, or a dict of shares by outcome ({', '.join(LOGGED)})",
    ),
    "hit_sample": _share(1),
    "store_prompts": _one_of(PROMPTS_KEPT),
    "redact": _function("a function of a text that returns a text"),
    "retention_days": _whole(1),
    "caller": _function("a callable that returns a string"),
    "tag_models": (
        lambda v: isinstance(v, (list, tuple)) and all(isinstance(x, str) for x in v),
        'a list of models such as "shop.Product"',
    ),
}


def _check_prices(table: Mapping[str, Any]) -> None:
    for model, price in table.items():
        name = f"LLMCACHE_CONFIG['PRICING'][{model!r}]"
        given = mapping(price, name)
        refuse_unknown(f"key of {name}", given, {"input", "output", "cached"})
        for part, rate in given.items():
            want = "a number that is not negative"
            require(is_number(rate) and rate >= 0, f"{name}[{part!r}]", rate, want)
