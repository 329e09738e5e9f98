"""Labelled pairs: two prompts, and whether one answer serves both.

One JSON object a line: `a` and `b`, each a text or a list of messages; `same` (or `same_answer`),
true or false; `category` (or `subtype`) and `id` where there are any.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson

from llmcache.exceptions import LLMCacheError
from llmcache.matching import question
from llmcache.matching.question import Question
from llmcache.models import MatchedPair

SAMPLE = "fow_pairs.jsonl"


class BadRow(LLMCacheError, ValueError):
    """A line that is no labelled pair; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled pair. `stored` came first, `asked` is matched against it."""

    stored: Question
    asked: Question
    same: bool
    category: str = ""
    id: str = ""


def read(path: Path, bad: list[BadRow] | None = None) -> Iterator[Row]:
    """The pairs of a file; one whose name ends in .gz is unpacked.

    Args:
        bad: where to put what is wrong with single lines; None raises at the first.

    Raises:
        BadRow: a line is no labelled pair.
        OSError: the file cannot be read.
    """
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        yield from parsed(lines, bad)


def sample() -> Iterator[Row]:
    """The pairs that come with this package; `data/ATTRIBUTION.md` says where from."""
    content = files("llmcache.evaluation").joinpath("data", SAMPLE).read_bytes()
    yield from parsed(content.splitlines())


def parsed(lines: Iterable[bytes], bad: list[BadRow] | None = None) -> Iterator[Row]:
    """The pairs in lines of JSON. Empty lines are passed over."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = _row(orjson.loads(line))
        except (ValueError, TypeError) as error:
            problem = BadRow(f"Line {number}: {error}")
            if bad is None:
                raise problem from error
            bad.append(problem)
            continue
        yield row


def from_database(alias: str | None = None) -> Iterator[Row]:
    """The pairs that staff, audits and `reject` have decided on, as far as both prompts are kept
    whole.

    Args:
        alias: only those of one store.
    """
    pairs = MatchedPair.objects.measurable().order_by("pk")
    for pair in pairs if alias is None else pairs.filter(alias=alias):
        stored, asked = _question(pair.stored), _question(pair.asked)
        yield Row(stored, asked, bool(pair.same), pair.how, str(pair.pk))


def _row(values: Any) -> Row:
    if not isinstance(values, Mapping):
        raise ValueError("no JSON object")
    same = values.get("same", values.get("same_answer"))
    if not isinstance(same, bool):
        raise ValueError("`same` must be true or false")
    return Row(
        stored=_asked(values, "a"),
        asked=_asked(values, "b"),
        same=same,
        category=str(values.get("category") or values.get("subtype") or ""),
        id=str(values.get("id") or ""),
    )


def _asked(values: Mapping[str, Any], name: str) -> Question:
    value = values.get(name)
    if isinstance(value, str):
        return _question(value, name)
    if not isinstance(value, list):
        raise ValueError(f"`{name}` must be a text or a list of messages")
    return _of(value, name)


def _question(text: str, name: str = "prompt") -> Question:
    return _of([{"role": "user", "content": text}], name)


def _of(messages: list[Any], name: str) -> Question:
    found = question.read({"kind": "completion", "params": {"messages": messages}})
    if found is None:
        raise ValueError(f"`{name}` has no message of a user with text in it")
    return found
