"""A function's arguments as JSON, so that a call has a key whichever way it was written.

Values of other types than JSON's are marked with their type, so that no two values which a function
may tell apart have one form.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from inspect import Parameter, Signature
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

import orjson
from django.db.models import Model
from django.utils.functional import Promise

from llmcache.keys import Uncacheable

_USUAL: Final = Parameter.POSITIONAL_OR_KEYWORD
_TEXTUAL: Final = (date, datetime, time, Decimal, UUID, PurePath)
_LARGEST: Final = 2**53
"""Whole numbers beyond this are not exact in every JSON parser."""


class Arguments:
    """The arguments of one function's calls.

    Args:
        ignore: names of arguments that are no part of the key.
    """

    def __init__(self, signature: Signature, ignore: Collection[str] = ()) -> None:
        self._signature = signature
        self._ignore = ignore
        parameters = signature.parameters
        kinds = {name: parameter.kind for name, parameter in parameters.items()}
        self._names = parameters.keys()
        self._positional = [name for name in kinds if kinds[name] is _USUAL]
        self._defaults = {
            name: parameter.default
            for name, parameter in parameters.items()
            if parameter.default is not Parameter.empty
        }
        self._is_usual = set(kinds.values()) <= {_USUAL, Parameter.KEYWORD_ONLY}
        self._rest = next((n for n in kinds if kinds[n] is Parameter.VAR_KEYWORD), None)

    def canonical(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """One call's arguments by name, defaults included.

        Raises:
            TypeError: the function cannot be called with these.
            Uncacheable: an argument has no form of its own; the text says which.
        """
        found = {}
        for name, value in self._named(args, kwargs).items():
            if name in self._ignore:
                continue
            if name == self._rest:
                value = {key: part for key, part in value.items() if key not in self._ignore}
            try:
                found[name] = _plain(value)
            except (Uncacheable, RecursionError) as error:
                said = error if isinstance(error, Uncacheable) else "is nested too deeply"
                raise Uncacheable(
                    f"the argument {name!r} {said}: "
                    f"name it in ignore=({name!r},) if it cannot change the result, or give key="
                ) from error
        return found

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
        # `bind` takes as long as all the rest of a hit's key; most calls need none of its care.
        if self._is_usual and len(args) <= len(self._positional):
            given = dict(zip(self._positional, args, strict=False))
            if given.keys().isdisjoint(kwargs) and kwargs.keys() <= self._names:
                named = {**self._defaults, **given, **kwargs}
                if len(named) == len(self._names):
                    return named
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments


def _plain(value: Any) -> Any:
    if value is None or type(value) is str or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _marked(value, value.name)
    if type(value) is int:
        return value if abs(value) < _LARGEST else {"$int": str(value)}
    if type(value) is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        return _container(value)
    return _object(value)


def _container(value: Any) -> Any:
    if isinstance(value, dict):
        if type(value) is dict and all(type(name) is str and name[:1] != "$" for name in value):
            return {name: _plain(part) for name, part in value.items()}
        pairs = [[_plain(name), _plain(part)] for name, part in value.items()]
        return _marked(value, sorted(pairs, key=_sortable))
    parts = [_plain(part) for part in value]
    if type(value) is list:
        return parts
    return _marked(
        value, parts if isinstance(value, (list, tuple)) else sorted(parts, key=_sortable)
    )


def _object(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": sha256(value).hexdigest()}
    for base in (str, int, float):
        # Of a class of its own, as SafeString: a function may ask for it.
        if isinstance(value, base):
            return _marked(value, base.__repr__(value))
    if isinstance(value, _TEXTUAL):
        text = value.isoformat() if isinstance(value, (date, time)) else str(value)
        return _marked(value, text)
    if isinstance(value, timedelta):
        return _marked(value, [value.days, value.seconds, value.microseconds])
    if isinstance(value, Promise):
        return _plain(str(value))
    if isinstance(value, Model):
        if value.pk is None:
            raise Uncacheable("is an object that is not saved yet")
        return {"$object": f"{value._meta.label_lower}:{value.pk}"}
    if isinstance(value, type) and "<locals>" not in value.__qualname__:
        return {"$class": f"{value.__module__}.{value.__qualname__}"}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return _marked(value, {field.name: _plain(getattr(value, field.name)) for field in fields})
    if is_pydantic(value):
        # Not as it dumps itself: what is left out there, or hidden, may change the result.
        return _marked(value, {str(name): _plain(part) for name, part in value})
    if isinstance(value, Mapping):
        return _marked(
            value, sorted(([_plain(n), _plain(p)] for n, p in value.items()), key=_sortable)
        )
    raise Uncacheable(f"is a {type(value).__module__}.{type(value).__qualname__}, which has no key")


def _marked(value: object, form: Any) -> dict[str, Any]:
    kind = type(value)
    return {f"${kind.__module__}.{kind.__qualname__}": form}


def _sortable(form: Any) -> bytes:
    return orjson.dumps(form, option=orjson.OPT_SORT_KEYS)


def is_pydantic(value: object) -> bool:
    """Whether the value is an object of a pydantic class."""
    return (
        not isinstance(value, type)
        and hasattr(type(value), "__pydantic_core_schema__")
        and (hasattr(value, "model_dump_json"))
    )
