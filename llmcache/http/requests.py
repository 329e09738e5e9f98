"""A request of a provider's HTTP API as the arguments of one of our functions."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

import orjson
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from llmcache.exceptions import InvalidRequest

PATHS: Final = {
    "/chat/completions": "completion",
    "/completions": "text_completion",
    "/responses": "responses",
    "/messages": "messages",
    "/embeddings": "embedding",
    "/audio/transcriptions": "transcription",
}
"""The ends of the paths that are known to be safe to cache, and the kinds of call that they are."""
_STATEFUL: Final = frozenset({"batches", "conversations", "threads"})
"""Parts of paths whose ends are the same words and mean something else: a message to be kept."""
_TEXT_FORMATS: Final = {"srt": "application/x-subrip", "text": "text/plain", "vtt": "text/vtt"}
_NUMBERS: Final = ("temperature",)


def kind_of(path: str, more: Mapping[str, str] | None = None) -> tuple[str, str] | None:
    """The kind of call that a path is for, and what comes before its known end; None for a path
    that is not known to be safe to cache.

    Args:
        more: further ends of paths, and their kinds; they come before the known ones.
    """
    stripped = path.rstrip("/")
    for end, kind in (*(more or {}).items(), *PATHS.items()):
        if stripped.endswith(end):
            base = stripped.removesuffix(end)
            # ".../chat/completions" ends with "/completions" as well: the longer one was first.
            return None if _STATEFUL.intersection(base.split("/")) else (kind, base)
    return None


def arguments_of(kind: str, body: bytes, content_type: str) -> dict[str, Any]:
    """What a request's body asks for, by name.

    Args:
        content_type: the header's value; a form is read only for transcriptions.

    Raises:
        InvalidRequest: the body is not a JSON object, or not a form with a file.
    """
    if kind == "transcription":
        return _form(body, content_type)
    try:
        parsed = orjson.loads(body)
    except ValueError as error:
        raise InvalidRequest(f"The request's body is not JSON: {error}.") from error
    if not isinstance(parsed, dict):
        raise InvalidRequest("The request's body must be a JSON object.")
    return parsed


class _InMemory(MemoryFileUploadHandler):
    """Keeps a file in memory whatever its size: it is there already."""

    def handle_raw_input(self, *args: Any, **kwargs: Any) -> None:
        self.activated = True


def _form(body: bytes, content_type: str) -> dict[str, Any]:
    meta = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body))}
    try:
        fields, files = MultiPartParser(meta, BytesIO(body), [_InMemory()], "utf-8").parse()
    except MultiPartParserError as error:
        raise InvalidRequest(f"The request's body is not a form: {error}.") from error
    file = files.get("file")
    if file is None:
        raise InvalidRequest("The form has no file; send the audio as the field 'file'.")
    return {
        **form_fields({name: fields.getlist(name) for name in fields}),
        "file": (file.name, file.read(), file.content_type),
    }


def form_fields(fields: Mapping[str, list[Any]]) -> dict[str, Any]:
    """A form's fields as arguments: lists by their names in brackets, numbers and flags by name."""
    arguments: dict[str, Any] = {}
    for name, values in fields.items():
        if name.endswith("[]"):
            arguments[name.removesuffix("[]")] = list(values)
        elif name == "stream":
            arguments[name] = values[-1].lower() == "true"
        elif name in _NUMBERS:
            arguments[name] = _number(values[-1])
        else:
            arguments[name] = values[-1]
    return arguments


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def text_format(arguments: Mapping[str, Any]) -> str | None:
    """The content type of a transcript that was asked for as plain text; None for JSON."""
    return _TEXT_FORMATS.get(str(arguments.get("response_format")))
