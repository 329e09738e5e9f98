"""The caller's words about one call's caching: `cache={"ttl": 60, "no-store": True}`.

The names follow HTTP's Cache-Control (RFC 9111, RFC 5861) and LiteLLM's page; the rest are ours.
Everything is checked here, so that a wrong word is an error at the call that said it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Model

from llmcache.exceptions import InvalidRequest
from llmcache.tags import tag_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What a caller asked of the cache for one call.

    Attributes:
        no_cache: do not read, still write (`refresh` says the same).
        no_store: do not write, still read.
        only_if_cached: raise `NotCached` rather than call upstream.
        use_cache: opts this call in where the mode is "default_off".
        ttl: seconds to keep the answer; 0 stores nothing; None: the cache's default.
        s_maxage: accept only entries younger than this many seconds; 0 accepts none.
        stale_while_revalidate: seconds past its ttl that an entry may answer while it is renewed.
        stale_if_error: seconds past its ttl that an entry may answer when upstream fails.
        namespace, scope: part of the key; override the cache's and the configuration's.
        tags: labels to evict by; saved objects of TAG_MODELS were given as they are.
        key: the caller's own key in place of the request's parameters.
        caller: a label for whoever makes the call, for the figures; not part of the key.
        refresh_ttl_on_hit: whether a hit lets its entry live longer; None: as the configuration
            says.
        semantic: False lets only the identical prompt's answer serve.
        bucket: keep this many variants of the answer and serve one of them at random.
    """

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    use_cache: bool = False
    ttl: float | None = None
    s_maxage: float | None = None
    stale_while_revalidate: float = 0.0
    stale_if_error: float | None = None
    namespace: str | None = None
    scope: str | None = None
    tags: tuple[str, ...] = ()
    key: str | None = None
    caller: str | None = None
    bucket: int | None = None
    refresh_ttl_on_hit: bool | None = None
    semantic: bool = True


NO_CONTROLS: Final = Controls()


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest(f"cache control {name!r} must be True or False, not {value!r}.")
    return value


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise InvalidRequest(
            f"cache control {name!r} must be a number of seconds that is not negative, "
            f"not {value!r}."
        )
    return float(value)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"cache control {name!r} must be a non-empty string, not {value!r}.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            f"cache control {name!r} is not text that UTF-8 can write: {value!r}; "
            "replace its lone surrogates."
        ) from error
    return value


def _tags(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, (list, tuple, set, frozenset)):
        raise InvalidRequest(
            f"cache control {name!r} must be a list of strings and model objects, not {value!r}."
        )
    return tuple(
        sorted({tag_of(tag) if isinstance(tag, Model) else _text(name, tag) for tag in value})
    )


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidRequest(f"cache control {name!r} must be an integer from 1 up, not {value!r}.")
    return value


_KNOWN: Final[dict[str, tuple[str, Callable[[str, object], Any]]]] = {
    "no-cache": ("no_cache", _flag),
    "refresh": ("no_cache", _flag),
    "no-store": ("no_store", _flag),
    "only-if-cached": ("only_if_cached", _flag),
    "use-cache": ("use_cache", _flag),
    "ttl": ("ttl", _seconds),
    "s-maxage": ("s_maxage", _seconds),
    "stale-while-revalidate": ("stale_while_revalidate", _seconds),
    "stale-if-error": ("stale_if_error", _seconds),
    "namespace": ("namespace", _text),
    "scope": ("scope", _text),
    "tags": ("tags", _tags),
    "key": ("key", _text),
    "caller": ("caller", _text),
    "bucket": ("bucket", _count),
    "refresh-ttl-on-hit": ("refresh_ttl_on_hit", _flag),
    "semantic": ("semantic", _flag),
}


NAMES: Final = frozenset(_KNOWN)
"""The names of all controls."""


def parse(given: Mapping[str, object] | None) -> Controls:
    """Check and read the `cache` argument of a call. None values count as not given.

    Raises:
        InvalidRequest: an unknown control (the known ones are listed) or a wrong value.
    """
    if not given:
        return NO_CONTROLS
    if not isinstance(given, Mapping):
        raise InvalidRequest(
            f"cache must be a dict of controls such as {{'ttl': 60}}, not {given!r}. "
            f"Known: {', '.join(sorted(_KNOWN))}."
        )
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _KNOWN:
            raise InvalidRequest.unknown("cache control", name, _KNOWN)
        if value is None:
            continue
        attribute, read = _KNOWN[name]
        checked = read(name, value)
        if attribute == "no_cache":
            checked = checked or values.get("no_cache", False)
        values[attribute] = checked
    return Controls(**values)
