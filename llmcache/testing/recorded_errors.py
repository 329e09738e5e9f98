"""A provider's error as JSON, and back: the same class, status and wait."""

from __future__ import annotations

import json
from typing import Any, Final

from llmcache import exceptions
from llmcache.exceptions import RateLimited, UpstreamError
from llmcache.testing.problems import CassetteError

_CLASSES: Final[dict[str, type[UpstreamError]]] = {
    name: value
    for name, value in vars(exceptions).items()
    if isinstance(value, type) and issubclass(value, UpstreamError)
}


def error_as_json(error: UpstreamError) -> dict[str, Any]:
    """What a cassette keeps of an error. A class that is not llmcache's own becomes the nearest one
    above it that is."""
    known = {
        "class": next(cls.__name__ for cls in type(error).__mro__ if cls.__name__ in _CLASSES),
        "message": error.message,
        "status": error.status,
        "request_id": error.request_id,
        "body": json.loads(json.dumps(error.body, default=str)),
        "provider": error.provider,
        "retry_after": getattr(error, "retry_after", None),
    }
    return {name: value for name, value in known.items() if value not in (None, "")}


def error_of(recorded: dict[str, Any]) -> UpstreamError:
    """The error that a cassette keeps.

    Raises:
        CassetteError: there is no such class.
    """
    given = dict(recorded)
    name, message = given.pop("class", None), given.pop("message", "")
    retry_after = given.pop("retry_after", None)
    if name not in _CLASSES:
        raise CassetteError(
            f"A cassette has an error of the class {name!r}; known are {', '.join(_CLASSES)}."
        )
    if _CLASSES[name] is RateLimited:
        return RateLimited(message, retry_after=retry_after, **given)
    return _CLASSES[name](message, **given)
