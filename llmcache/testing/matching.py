"""Which recorded call is the one that is made now, and how the nearest one differs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

import orjson

from llmcache import keys
from llmcache.exceptions import InvalidRequest
from llmcache.testing.asked import digest_of
from llmcache.testing.cassette import Interaction

PARTS: Final = ("kind", "model", "provider", "stream", "params")
_STEP: Final = re.compile(r"[^.\[\]]+")
_MISSING: Final = object()
_COMPARED: Final = 4000  # characters
_SHOWN: Final = 72
_MOST_LINES: Final = 12


def check(match_on: Iterable[str]) -> tuple[str, ...]:
    """The parts to match on, if they are that.

    Raises:
        InvalidRequest: a name is none of PARTS, nor a path that begins with "params.".
    """
    found = tuple(match_on)
    for name in found:
        if name not in PARTS and not name.startswith("params."):
            raise InvalidRequest.unknown("part to match on", name, (*PARTS, "params.<name>"))
    return found


def same(recorded: Interaction, request: dict[str, Any], shown: dict[str, Any], on: Sequence[str]
) -> bool:  # fmt: skip
    """Whether a recorded call is this one.

    Args:
        request: as it is made now.
        shown: as it would be written: redacted.
        on: what must be equal.
    """
    for name in on:
        if name == "params" and recorded.params_sha256 is not None:
            if recorded.params_sha256 != digest_of(request["params"]):
                return False
        elif name == "params":
            if not _equal(recorded.request["params"], request["params"]):
                return False
        elif not _equal(_at(recorded.request, name), _at(shown, name)):
            return False
    return True


def _equal(one: Any, other: Any) -> bool:
    """Equal as JSON: 1, 1.0 and true are three things."""
    if one is _MISSING or other is _MISSING:
        return one is other
    option = orjson.OPT_SORT_KEYS
    return orjson.dumps(one, option=option) == orjson.dumps(other, option=option)


def _at(request: dict[str, Any], path: str) -> Any:
    value: Any = request
    for step in _STEP.findall(path):
        if isinstance(value, dict):
            value = value.get(step, _MISSING)
        elif isinstance(value, list) and step.lstrip("-").isdigit():
            place = int(step)
            value = value[place] if -len(value) <= place < len(value) else _MISSING
        else:
            return _MISSING
    return value


def nearest(recorded: Sequence[Interaction], shown: dict[str, Any]) -> int | None:
    """The place of the recorded call that is most like this one; None where none is."""
    best: tuple[float, int] | None = None
    text = _text(shown)
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(text)
    for place, interaction in enumerate(recorded):
        matcher.set_seq1(_text(interaction.request))
        likeness = matcher.quick_ratio() + (interaction.request["kind"] == shown["kind"])
        if best is None or likeness > best[0]:
            best = likeness, place
    return None if best is None else best[1]


def _text(request: dict[str, Any]) -> str:
    return orjson.dumps(request, option=orjson.OPT_SORT_KEYS).decode()[:_COMPARED]


def differences(recorded: dict[str, Any], shown: dict[str, Any]) -> list[str]:
    """Lines such as `params.messages[0].content: 'a' -> 'b'`, the recorded value first."""
    lines = [
        f"{path}: {one} -> {other}"
        for path, values in keys.diff(recorded, shown).items()
        for path, one, other in _pairs(path, *values)
    ]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"and {len(lines) - _MOST_LINES} more"]
    return lines


def _pairs(path: str, one: Any, other: Any) -> Iterator[tuple[str, str, str]]:
    """A difference in words; lists of different length are compared item by item."""
    if isinstance(one, list) and isinstance(other, list):
        both = min(len(one), len(other))
        for place in range(max(len(one), len(other))):
            here = f"{path}[{place}]"
            if place >= both:
                yield (
                    here,
                    *_shown(
                        one[place] if place < len(one) else None,
                        other[place] if place < len(other) else None,
                    ),
                )
                continue
            for deeper, values in keys.diff({"x": one[place]}, {"x": other[place]}).items():
                yield from _pairs(f"{here}{deeper[1:]}", *values)
        return
    yield path, *_shown(one, other)


def _shown(one: Any, other: Any) -> tuple[str, str]:
    if isinstance(one, str) and isinstance(other, str):
        start = next(
            (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
            min(len(one), len(other)),
        )
        start = max(0, start - _SHOWN // 3) if max(len(one), len(other)) > _SHOWN else 0
        return _excerpt(one, start), _excerpt(other, start)
    return _short(one), _short(other)


def _excerpt(text: str, start: int) -> str:
    before = "…" if start else ""
    after = "…" if len(text) > start + _SHOWN else ""
    return repr(f"{before}{text[start : start + _SHOWN]}{after}")


def _short(value: Any) -> str:
    if value is None:
        return "(none)"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
