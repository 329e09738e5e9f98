"""A function's result as bytes, and back: only what comes back equal and of the same type.

The first line of an entry is a JSON object, the head, which says the form; what follows is the
value or, of a generator, a line for each.
"""

from __future__ import annotations

import math
import types
import typing
from collections import abc
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, Final

import orjson

from llmcache import own_code
from llmcache.functions.arguments import is_pydantic
from llmcache.outcome import CacheInfo
from llmcache.own_code import VERSION
from llmcache.response import Response
from llmcache.streams import usage_of

_HEAD: Final = {"version": VERSION}
_DEEPEST: Final = 200
_AROUND: Final = (
    typing.Union,
    types.UnionType,
    abc.AsyncGenerator,
    abc.AsyncIterable,
    abc.AsyncIterator,
    abc.Generator,
    abc.Iterable,
    abc.Iterator,
)
"""What may stand around a pydantic class in an annotation."""


class Unstorable(Exception):
    """A value that would not come back as it is; the text says why, and what to do about it."""


class Forms:
    """How the results of one function are stored.

    Args:
        function: its annotation names the pydantic class of the results, if they have one.
        returns: that class, where the annotation does not say.
        store_none: whether None is stored.
    """

    def __init__(
        self, function: Callable[..., Any], returns: type | None, *, store_none: bool
    ) -> None:
        self.store_none = store_none
        self._function, self._given = function, returns

    @cached_property
    def returns(self) -> type | None:
        """The pydantic class of the results. Read late: it may be defined after the function."""
        return self._given or _class_of_results(self._function)

    def written(self, value: Any) -> tuple[str, bytes]:
        """The name of the value's form, and the value in it.

        Raises:
            Unstorable: the value would come back changed.
        """
        kind = type(value)
        if kind is bytes:
            return "bytes", value
        if kind is Response:
            return "response", value.raw
        if is_pydantic(value):
            return "model", self._model(value)
        try:
            _check(value, 0)
            return "json", orjson.dumps(value)
        except (TypeError, RecursionError) as error:  # of orjson: a lone surrogate, say
            raise Unstorable(f"it cannot be written as JSON: {error}") from error

    def _model(self, value: Any) -> bytes:
        kind = type(value)
        if self.returns is None:
            raise Unstorable(
                f"it is a {kind.__qualname__}, and nothing says how to make one again: annotate "
                f"the function's return value, or give returns={kind.__qualname__}"
            )
        if kind is not self.returns:
            raise Unstorable(
                f"it is a {kind.__qualname__} and would come back as a {self.returns.__qualname__}:"
                f" give returns={kind.__qualname__}"
            )
        data: bytes = value.model_dump_json(by_alias=True).encode()
        try:
            same = kind.model_validate_json(data) == value
        except ValueError:
            same = False
        if not same:
            raise Unstorable(
                f"this {kind.__qualname__} does not come back equal from its own JSON: give its "
                "class no hidden or left-out fields, or return a dict"
            )
        return data

    def payload(self, value: Any) -> bytes:
        """An entry of the whole value. Raises Unstorable as `written`."""
        if value is None and not self.store_none:
            return own_code.refused("None is not to be stored")
        form, data = self.written(value)
        return orjson.dumps({**_HEAD, "form": form, **_reported(value)}) + b"\n" + data

    def line(self, value: Any) -> bytes:
        """One value of a generator as a line of its entry. Raises Unstorable as `written`."""
        form, data = self.written(value)
        return own_code.line(f"{form} ".encode() + data)

    def opened(self, payload: bytes, info: CacheInfo) -> Any:
        """The value of an entry: a copy of the caller's own.

        Raises:
            ValueError, LookupError, TypeError: the entry is not of the format that this version
                writes, or not of the class of today's results.
        """
        start, _, data = payload.partition(b"\n")
        return self._read(_head_of(start)["form"], data, info)

    def replayed(self, lines: Iterable[bytes], info: CacheInfo) -> list[Any]:
        """All values of a generator's entry. Raises as `opened`."""
        head, *rest = lines
        _head_of(head)
        return [self.read_line(line, info) for line in rest]

    def read_line(self, line: bytes, info: CacheInfo) -> Any:
        """One value of a generator's entry. Raises as `opened`."""
        form, _, data = own_code.part(line).partition(b" ")
        return self._read(form.decode(), data, info)

    def _read(self, form: str, data: bytes, info: CacheInfo) -> Any:
        if form == "bytes":
            return data
        if form == "response":
            return Response(data, info)
        if form == "model":
            if self.returns is None:
                raise TypeError("the function says no longer of which class its results are")
            return self.returns.model_validate_json(data)  # type: ignore[attr-defined]
        return orjson.loads(data)


def _head_of(line: bytes) -> Any:
    head = orjson.loads(line)
    if head["version"] != VERSION:
        raise ValueError(f"a value of format {head['version']}")
    return head


def head_of_generator() -> bytes:
    """The first line of a generator's entry."""
    return orjson.dumps({**_HEAD, "form": "generator"})


def _check(value: Any, depth: int) -> None:
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return
    if kind is int:
        if not -(2**63) <= value < 2**64:
            raise Unstorable("it holds an integer of more than 64 bits: return it as a string")
    elif kind is float:
        if not math.isfinite(value):
            raise Unstorable(f"it holds {value}, which is not JSON: return None or a string")
    elif depth >= _DEEPEST:
        raise Unstorable("it is nested too deeply: return something flatter")
    elif kind is list:
        for part in value:
            _check(part, depth + 1)
    elif kind is dict:
        for name, part in value.items():
            if type(name) is not str:
                raise Unstorable(f"it holds a dict with the key {name!r}: use strings as keys")
            _check(part, depth + 1)
    else:
        raise Unstorable(
            f"it holds a {kind.__qualname__}, which would come back as something else: return "
            "dicts, lists, strings, numbers, bytes, or a pydantic class"
        )


def _reported(value: Any) -> dict[str, Any]:
    """The usage and the model that a result names, as a provider's answer does."""
    if not isinstance(value, (dict, Response)):
        return {}
    usage = value.get("usage")
    if not isinstance(usage, Mapping):
        return {}
    try:
        counted = usage_of("function", {"usage": usage}).as_dict()
    except (ValueError, TypeError, AttributeError):
        return {}
    model = value.get("model")
    noted = {
        "prompt_tokens": counted["input"],
        "completion_tokens": counted["output"],
        "prompt_tokens_details": {"cached_tokens": counted["cached"]},
    }
    return {"usage": noted} | ({"model": model} if isinstance(model, str) else {})


def _class_of_results(function: Callable[..., Any]) -> type | None:
    """The pydantic class that a function's annotation says it returns or yields, if it is one."""
    try:
        said = typing.get_type_hints(function).get("return")
    except Exception:  # an annotation that only a type checker can read
        return None
    return _class_in(said)


def _class_in(said: Any) -> type | None:
    if isinstance(said, type) and hasattr(said, "model_validate_json"):
        return said
    found = {_class_in(part) for part in typing.get_args(said)} - {None}
    if typing.get_origin(said) in _AROUND and len(found) == 1:
        return found.pop()
    return None
