"""What callers get: a provider's JSON that reads as attributes and as a mapping, parsed when read.

A hit that is only forwarded (`response.raw`) is never parsed. Every caller has an own copy: what
one does to its response reaches neither the store nor another caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from operator import methodcaller
from typing import Any, Final, cast

import orjson

from llmcache.outcome import CacheInfo

# Optional fields of the providers' formats: absent reads as None, as in the providers' own SDKs,
# while a misspelt name is still an AttributeError.
OPTIONAL: Final = frozenset(
    {
        "annotations",
        "arguments",
        "audio",
        "completion_tokens_details",
        "content",
        "delta",
        "error",
        "finish_reason",
        "function",
        "function_call",
        "id",
        "incomplete_details",
        "index",
        "input_tokens_details",
        "instructions",
        "logprobs",
        "message",
        "metadata",
        "name",
        "output_text",
        "output_tokens_details",
        "parsed",
        "prompt_tokens_details",
        "reasoning",
        "reasoning_content",
        "refusal",
        "role",
        "service_tier",
        "system_fingerprint",
        "text",
        "tool_calls",
        "type",
        "usage",
    }
)


class Node(dict[str, Any]):
    """A JSON object inside a response: a dict whose members are attributes too.

    OPTIONAL ones are properties, since before Python 3.12 `__getattr__` costs an exception each
    time.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise _absent(self, name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise _absent(self, name)
        del self[name]

    def model_dump(self, **kwargs: object) -> dict[str, Any]:
        """A plain dict, nested ones included. Accepts and ignores pydantic's keyword arguments."""
        return cast(dict[str, Any], _plain(self))


for _name in OPTIONAL:
    setattr(Node, _name, property(methodcaller("get", _name)))


def _absent(owner: object, name: str) -> AttributeError:
    return AttributeError(f"{type(owner).__name__} has no field {name!r}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value


def as_nodes(value: Any) -> Any:
    """The same JSON value with every object in it a Node."""
    if type(value) is dict:
        return _node(value)
    return _nodes(value) if type(value) is list and value else value


def _node(value: dict[str, Any]) -> Node:
    node = Node(value)
    for name, part in value.items():
        kind = type(part)
        if kind is dict:
            node[name] = _node(part)
        elif kind is list and part:
            node[name] = _nodes(part)
    return node


def _nodes(values: list[Any]) -> list[Any]:
    # A vector is a list of numbers: its first element tells that there is nothing inside.
    kind = type(values[0])
    if kind is not dict and kind is not list:
        return values
    if len(values) == 1 and kind is dict:
        return [_node(values[0])]
    return [as_nodes(part) for part in values]


_loads: Final = orjson.loads


class Response(MutableMapping[str, Any]):
    """One answer, or one chunk of a streamed one.

    Attributes:
        cache: where it came from and what that saved.
        raw: the JSON exactly as the provider sent it.
    """

    __slots__ = ("_body", "cache")

    _body: bytes | dict[str, Any]
    """The JSON as it arrived, until somebody reads in it; then what it says."""
    cache: CacheInfo

    def __init__(self, raw: bytes, cache: CacheInfo) -> None:
        _set_body(self, raw)
        _set_cache(self, cache)

    @property
    def raw(self) -> bytes:
        """The JSON as it arrived, or as the caller has changed it since."""
        body = self._body
        return body if isinstance(body, bytes) else orjson.dumps(body)

    def _parsed(self) -> dict[str, Any]:
        body = self._body
        if isinstance(body, dict):
            return body
        parsed: dict[str, Any] = _loads(body)
        _set_body(self, parsed)
        return parsed

    def _field(self, data: dict[str, Any], name: str) -> Any:
        """A member, its objects made Nodes when it is first read: most are never read."""
        value = data[name]
        kind = type(value)
        if kind is dict or (kind is list and value and type(value[0]) is dict):
            value = data[name] = as_nodes(value)
        return value

    def __getattr__(self, name: str) -> Any:
        data = self._parsed()
        if name in data:
            return self._field(data, name)
        if name == "output_text" and "output" in data:
            return _output_text(data)
        if name in OPTIONAL:
            return None
        raise _absent(self, name)

    @property
    def choices(self) -> Any:
        """The field that most calls are about: read here, it costs no failed look-up first."""
        data = self._parsed()
        if "choices" not in data:
            raise _absent(self, "choices")
        value = data["choices"]
        if type(value) is list and value and type(value[0]) is dict:
            value = data["choices"] = _nodes(value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        self._parsed()[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self._parsed():
            raise _absent(self, name)
        del self._parsed()[name]

    def __getitem__(self, name: str) -> Any:
        return self._field(self._parsed(), name)

    def __setitem__(self, name: str, value: Any) -> None:
        self._parsed()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._parsed()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parsed())

    def __len__(self) -> int:
        return len(self._parsed())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Response):
            return self._parsed() == other._parsed()
        if isinstance(other, Mapping):
            return self._parsed() == other
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Response({self._parsed()!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.raw, self.cache))

    def model_dump(self, **kwargs: object) -> dict[str, Any]:
        """A plain dict, nested ones included. Accepts and ignores pydantic's keyword arguments."""
        return cast(dict[str, Any], _plain(self._parsed()))

    def model_dump_json(self, *, indent: int | None = None, **kwargs: object) -> str:
        """JSON text, indented by two if `indent` is given."""
        option = orjson.OPT_INDENT_2 if indent else None
        return orjson.dumps(self._parsed(), option=option).decode()

    def json(self) -> str:
        """JSON text, as `model_dump_json()`."""
        return self.model_dump_json()


# `__setattr__` sets the answer's members, so the slots are set by their descriptors.
_set_body: Final = Response.__dict__["_body"].__set__
_set_cache: Final = Response.__dict__["cache"].__set__


def _output_text(data: Mapping[str, Any]) -> str:
    """All text of a Responses API answer, as the SDK's property of that name."""
    return "".join(
        part["text"]
        for item in data["output"]
        if item.get("type") == "message"
        for part in item["content"]
        if part.get("type") == "output_text"
    )
