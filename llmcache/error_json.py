"""A provider's error as JSON, and back: for other processes, and for cassettes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from llmcache import exceptions
from llmcache.exceptions import RateLimited, UpstreamError

CLASSES: Final[dict[str, type[UpstreamError]]] = {
    name: value
    for name, value in vars(exceptions).items()
    if isinstance(value, type) and issubclass(value, UpstreamError)
}
"""The errors that JSON can name."""
_FIELDS: Final = ("message", "status", "request_id", "body", "provider", "retry_after")


def as_json(error: UpstreamError) -> dict[str, Any]:
    """The error's class and what it says. A class that is none of `CLASSES` becomes the nearest one
    above it that is."""
    kind = next(each.__name__ for each in type(error).__mro__ if each.__name__ in CLASSES)
    fields = {name: getattr(error, name, None) for name in _FIELDS}
    said = {name: value for name, value in fields.items() if value not in (None, "")}
    try:
        said = orjson.loads(orjson.dumps(said, default=str, option=orjson.OPT_NON_STR_KEYS))
    except TypeError:  # its body has no JSON form
        said = {name: said[name] for name in ("message", "status") if name in said}
    return {"class": kind, **said}


def from_json(said: Mapping[str, Any]) -> UpstreamError:
    """The error that was told.

    Raises:
        KeyError: there is no such class.
    """
    kind = CLASSES[said["class"]]
    fields = {name: said[name] for name in _FIELDS if name in said}
    fields.setdefault("message", "the provider failed")
    if not issubclass(kind, RateLimited):
        fields.pop("retry_after", None)
    return kind(**fields)
