"""The file: recorded calls as JSON that people read, compare and keep in version control."""

from __future__ import annotations

import json
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from llmcache.testing.problems import CassetteError

FORMAT: Final = 1
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class Interaction:
    """One recorded call. It has an answer, or a stream's chunks, or an error; a stream that broke
    has chunks and an error.

    Attributes:
        request: kind, model, provider, stream and params.
        params_sha256: of the parameters as they were sent, where those in `request` are not.
        answer, chunks, error: JSON.
        left: the stream was left by its reader after these chunks.
        used: how often it has answered since the cassette was put in.
    """

    request: dict[str, Any]
    params_sha256: str | None = None
    answer: Any = None
    chunks: list[Any] | None = None
    error: dict[str, Any] | None = None
    left: bool = False
    used: int = field(default=0, compare=False)

    def as_json(self) -> dict[str, Any]:
        """As the file has it."""
        found: dict[str, Any] = {"request": self.request}
        if self.params_sha256 is not None:
            found["params_sha256"] = self.params_sha256
        if self.chunks is not None:
            found["chunks"] = self.chunks
        if self.left:
            found["left"] = True
        if self.error is not None:
            found["error"] = self.error
        elif self.chunks is None:
            found["answer"] = self.answer
        return found


def read(path: Path) -> list[Interaction]:
    """The recorded calls of a file; none where there is no file.

    Raises:
        CassetteError: the file is not a cassette of this format.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise CassetteError(f"The cassette {path} cannot be read: {error}") from error
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise CassetteError(
            f"The cassette {path} is not JSON: {error}. Mend it, or delete it and record it anew."
        ) from error
    version = parsed.get("format") if isinstance(parsed, dict) else None
    if version != FORMAT:
        raise CassetteError(
            f"The cassette {path} has the format {version!r}; this version of llmcache reads "
            f"{FORMAT}. Record it anew."
        )
    try:
        return [_interaction(made) for made in parsed["interactions"]]
    except (LookupError, TypeError, AttributeError) as error:
        raise CassetteError(
            f"The cassette {path} has an interaction that is not complete: {error!r}. "
            "Mend it, or record it anew."
        ) from error


def _interaction(made: dict[str, Any]) -> Interaction:
    request = made["request"]
    request = {name: request[name] for name in ("kind", "model", "provider", "stream", "params")}
    if not {"answer", "chunks", "error"} & made.keys():
        raise LookupError("answer")
    return Interaction(
        request,
        made.get("params_sha256"),
        made.get("answer"),
        made.get("chunks"),
        made.get("error"),
        made.get("left", False),
    )


def write(path: Path, interactions: list[Interaction]) -> None:
    """Replace a file in one step, so that no reader ever sees half of it."""
    made = [_indented(interaction.as_json(), "    ", True) for interaction in interactions]
    body = ",\n".join(f"    {text}" for text in made)
    text = f'{{\n  "format": {FORMAT},\n  "interactions": [\n{body}\n  ]\n}}\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        temporary.write_bytes(_encoded(text))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _indented(value: Any, pad: str, outermost: bool = False) -> str:
    """JSON, indented by two. A vector is one line, and so is each chunk of a stream."""
    more = pad + "  "
    if isinstance(value, dict) and value:
        parts = []
        for name, part in value.items():
            if outermost and name == "chunks" and part:
                lines = ",\n".join(f"{more}  {_line(chunk)}" for chunk in part)
                text = f"[\n{lines}\n{more}]"
            else:
                text = _indented(part, more)
            parts.append(f"{more}{_line(name)}: {text}")
        return "{\n" + ",\n".join(parts) + f"\n{pad}}}"
    if isinstance(value, list) and value and not all(type(x) in (int, float) for x in value):
        return "[\n" + ",\n".join(more + _indented(part, more) for part in value) + f"\n{pad}]"
    return _line(value)


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def parsed(body: bytes) -> Any:
    """An answer's JSON.

    Raises:
        CassetteError: it is none.
    """
    try:
        return json.loads(body)
    except ValueError as error:
        raise CassetteError(f"The provider's answer is not JSON: {body[:80]!r}") from error


def body_of(answer: Any) -> bytes:
    """An answer or a chunk as an upstream gives it."""
    return _encoded(json.dumps(answer, ensure_ascii=False, separators=(",", ":")))


def _encoded(text: str) -> bytes:
    # Providers cut texts between the halves of a character: JSON can say half of one, UTF-8 cannot.
    return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()
