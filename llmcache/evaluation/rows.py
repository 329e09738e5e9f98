"""Labelled pairs: two prompts, and whether one answer serves both.

One JSON object a line: `a` and `b`, each a text or a list of messages; `same` (or `same_answer`),
true or false; `category` (or `subtype`) and `id` where there are any.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson

from llmcache.exceptions import LLMCacheError
from llmcache.matching import question
from llmcache.models import MatchedPair

SAMPLE = "fow_pairs.jsonl"


class BadRow(LLMCacheError, ValueError):
    """A line that is no labelled pair; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled pair. `stored` came first, `asked` is matched against it: each the JSON of a
    call's messages.
    """

    stored: str
    asked: str
    same: bool
    category: str = ""
    id: str = ""

    def materials(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the keys of the two calls are made of, the stored one first."""
        stored, asked = (material(orjson.loads(text)) for text in (self.stored, self.asked))
        return stored, asked


def material(messages: Any) -> dict[str, Any]:
    """What the key of a call with these messages is made of, as far as matching looks at it."""
    return {"kind": "completion", "params": {"messages": messages}}


def read(path: Path, bad: list[BadRow] | None = None) -> Iterator[Row]:
    """The pairs of a file; one whose name ends in .gz is unpacked.

    Args:
        bad: where to put what is wrong with single lines; None raises at the first.

    Raises:
        BadRow: a line is no labelled pair.
        OSError: the file cannot be read, or is packed and damaged.
    """
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        yield from parsed(_unpacked(lines), bad)


def _unpacked(lines: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from lines
    except (EOFError, zlib.error) as error:
        raise OSError(f"it breaks off: {error}") from error


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


def from_database(alias: str | None = None, *, most: int | None = None) -> Iterator[Row]:
    """The pairs that staff, audits and `reject` have decided on, as far as both prompts are kept
    whole.

    Args:
        alias: only those of one store.
        most: how many of the latest; None for all, from the first on.
    """
    pairs = MatchedPair.objects.measurable().order_by("pk" if most is None else "-pk")
    for pair in (pairs if alias is None else pairs.filter(alias=alias))[:most]:
        stored, asked = (orjson.dumps(_messages(t)).decode() for t in (pair.stored, pair.asked))
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


def _asked(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if isinstance(value, str):
        value = _messages(value)
    if not isinstance(value, list):
        raise ValueError(f"`{name}` must be a text or a list of messages")
    if question.read(material(value)) is None:
        raise ValueError(f"`{name}` has no message of a user with text in it")
    return orjson.dumps(value).decode()


def _messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]
