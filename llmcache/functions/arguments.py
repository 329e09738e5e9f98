"""A function's arguments as part of a key: each value with its kind, so that no two kinds meet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from inspect import Signature
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from django.db.models import Model
from django.utils.functional import Promise

from llmcache.keys import Uncacheable

_WRITTEN: Final = (date, datetime, time, timedelta, Decimal, PurePath, UUID)
"""Kinds whose text says all there is to say."""


def bound(
    signature: Signature, ignore: Iterable[str], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments by name, defaults included, without those that are to be ignored.

    Raises:
        TypeError: as the call itself would.
    """
    found = signature.bind(*args, **kwargs)
    found.apply_defaults()
    return {name: value for name, value in found.arguments.items() if name not in ignore}


def material(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as JSON values.

    Raises:
        Uncacheable: one of them has no form that always says the same.
    """
    found = {}
    for name, value in arguments.items():
        try:
            found[name] = _plain(value)
        except Uncacheable as error:
            raise Uncacheable(
                f"the argument {name!r} cannot be part of a key ({error}); name it in ignore, or "
                "give @cached a key"
            ) from None
        except RecursionError:
            raise Uncacheable(f"the argument {name!r} holds itself") from None
    return found


def _plain(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        if not math.isfinite(value):
            raise Uncacheable(f"{value} is not JSON")
        return value
    if kind is list:
        return [_plain(part) for part in value]
    if kind is dict and all(type(name) is str for name in value):
        return {"dict": {name: _plain(part) for name, part in value.items()}}
    return {_name(kind): _inside(value)}


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _inside(value: Any) -> Any:
    """What tells a value from others of its own kind."""
    read = next((read for kinds, read in _READERS if isinstance(value, kinds)), None)
    if read is not None:
        return read(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        return _plain(dump(mode="json"))
    raise Uncacheable(f"it is of the kind {_name(type(value))}")


def _row(value: Model) -> Any:
    if value.pk is None:
        raise Uncacheable("it is not saved yet")
    return [value._meta.label, _plain(value.pk)]


def _of_dict(value: Mapping[Any, Any]) -> Any:
    pairs = [[_plain(name), _plain(part)] for name, part in value.items()]
    return sorted(pairs, key=repr)


_READERS: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (Model, _row),
    (Promise, str),
    (Enum, lambda value: _plain(value.value)),
    ((bytes, bytearray), lambda value: sha256(value).hexdigest()),
    (_WRITTEN, str),
    ((list, tuple), lambda value: [_plain(part) for part in value]),
    ((set, frozenset), lambda value: sorted((_plain(part) for part in value), key=repr)),
    (Mapping, _of_dict),
    ((bool, int, str), str),
)
