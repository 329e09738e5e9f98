"""What a function returned, as a line of JSON and back: only what comes back the same is kept."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import orjson

from llmcache.exceptions import LLMCacheError
from llmcache.outcome import CacheInfo
from llmcache.response import Response


class NotKept(LLMCacheError):
    """A value that would not come back as it was; the text says why."""


class Codec:
    """Writes and reads the values of one function.

    Args:
        returns: the type of what it returns or yields, or None: then only what JSON knows, bytes
            and our own responses are kept.
    """

    def __init__(self, returns: Any) -> None:
        self._adapter: Any = None
        if returns is not None:
            self._adapter = _adapter(returns)

    def write(self, value: Any) -> bytes:
        """A value as a line.

        Raises:
            NotKept: reading the line would give something else.
        """
        try:
            if isinstance(value, Response):
                return orjson.dumps({"response": orjson.Fragment(value.raw)})
            if type(value) is bytes:
                return orjson.dumps({"bytes": base64.b64encode(value).decode()})
            if _is_plain(value):
                return orjson.dumps({"json": value})
            if self._adapter is not None:
                return self._typed(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise NotKept(str(error)) from error
        raise NotKept(
            f"{type(value).__module__}.{type(value).__qualname__} is not what JSON can give back; "
            "annotate what the function returns, or pass returns=... (this needs pydantic), or "
            "return plain dicts, lists, texts and numbers"
        )

    def _typed(self, value: Any) -> bytes:
        data = self._adapter.dump_json(value)
        again = self._adapter.validate_json(data)
        if type(again) is not type(value) or again != value:
            raise NotKept(f"it would come back as {again!r:.100}")
        return orjson.dumps({"typed": orjson.Fragment(data)})

    def read(self, line: bytes, info: CacheInfo) -> Any:
        """The value that a line holds: the caller's own.

        Raises:
            NotKept: the type of what the function returns has changed since.
        """
        found = orjson.loads(line)
        if "json" in found:
            return found["json"]
        if "bytes" in found:
            return base64.b64decode(found["bytes"])
        if "response" in found:
            return Response(orjson.dumps(found["response"]), info)
        try:
            return self._adapter.validate_python(found["typed"], strict=False)
        except (ValueError, AttributeError) as error:
            raise NotKept(str(error)) from error


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return True
    if kind is float:
        return math.isfinite(value)
    if kind is list:
        return all(map(_is_plain, value))
    if kind is dict:
        return all(type(name) is str and _is_plain(part) for name, part in value.items())
    return False


def _adapter(returns: Any) -> Any:
    try:
        from pydantic import TypeAdapter
    except ImportError:
        return None
    try:
        return TypeAdapter(returns)
    except Exception:  # pydantic has no form for it, so it is not kept
        return None


def declared(function: Callable[..., Any], *, yields: bool) -> Any:
    """What a function's annotation says that it returns or, as a generator, yields; None if it
    says nothing."""
    try:
        found = get_type_hints(function).get("return")
    except Exception:  # names that only a type checker can see
        return None
    if not yields or found is None:
        return found
    inner = get_args(found)
    return inner[0] if inner else None
