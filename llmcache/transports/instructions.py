"""What a request's own headers say to the cache: `Cache-Control` and `X-LLMCache-*`.

The request comes from this process, so every control may be used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from llmcache.exceptions import InvalidRequest
from llmcache.http import cache_control

PREFIX: Final = "x-llmcache-"
_FLAGS: Final[dict[str, bool]] = {"1": True, "true": True, "0": False, "false": False}


def _flag(name: str, text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise InvalidRequest(f"The header {name} must be true or false, not {text!r}.")
    return _FLAGS[text.lower()]


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise InvalidRequest(
            f"The header {name} must be a number of seconds that is not negative, not {text!r}."
        )
    return seconds


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise InvalidRequest(f"The header {name} must be an integer from 1 up, not {text!r}.")
    return int(text)


def _text(name: str, text: str) -> str:
    if not text:
        raise InvalidRequest(f"The header {name} is empty; leave it out or give it a value.")
    return text


def _tags(name: str, text: str) -> list[str]:
    tags = [tag.strip() for tag in text.split(",")]
    if not all(tags):
        raise InvalidRequest(
            f"The header {name} must be tags with commas between them, such as 'a,b', not {text!r}."
        )
    return tags


CONTROLS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "bucket": _count,
    "caller": _text,
    "key": _text,
    "namespace": _text,
    "no-cache": _flag,
    "no-store": _flag,
    "only-if-cached": _flag,
    "refresh": _flag,
    "refresh-ttl-on-hit": _flag,
    "s-maxage": _seconds,
    "scope": _text,
    "semantic": _flag,
    "stale-if-error": _seconds,
    "stale-while-revalidate": _seconds,
    "tags": _tags,
    "ttl": _seconds,
    "use-cache": _flag,
}


def controls_of(headers: Mapping[str, str]) -> dict[str, Any]:
    """The `cache` argument that a request's headers amount to.

    Args:
        headers: by their names in lower case.

    Raises:
        InvalidRequest: an unknown `X-LLMCache-` header, or a wrong value.
    """
    controls = cache_control.controls_of(headers.get("cache-control"))
    for name, value in headers.items():
        if name.startswith(PREFIX):
            control = name.removeprefix(PREFIX)
            if control not in CONTROLS:
                known = (f"X-LLMCache-{control}" for control in CONTROLS)
                raise InvalidRequest.unknown("header", name, known)
            controls[control] = CONTROLS[control](name, value.strip())
    return controls


def are_for_us(name: str) -> bool:
    """Whether a header, by its name in lower case, is for the cache and not for the provider."""
    return name == "cache-control" or name.startswith(PREFIX)
