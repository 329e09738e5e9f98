"""OpenAI's and Anthropic's HTTP formats without I/O: what to send for a request, what the
answer's bytes mean."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import orjson
from django.core.exceptions import ImproperlyConfigured

from llmcache.exceptions import BadRequest, ServerFailed, StreamBroken, UpstreamError
from llmcache.keys import wire_default
from llmcache.sse import Event, Parser, SSEError
from llmcache.upstreams.base import UpstreamRequest
from llmcache.upstreams.failures import message_in

PATHS: Final = {
    "completion": "/chat/completions",
    "text_completion": "/completions",
    "responses": "/responses",
    "messages": "/messages",
    "embedding": "/embeddings",
    "transcription": "/audio/transcriptions",
}
_FINAL: Final = {
    "responses": ("response.completed", "response.incomplete", "response.failed"),
    "messages": ("message_stop",),
}
"""The types of the events that end a stream, where it is not [DONE] that does."""
_TEXT_FORMATS: Final = ("text", "srt", "vtt")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def normalised_url(url: str) -> str:
    """A base_url without credentials, query or closing slash, host in lower case."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    if parts.scheme not in ("http", "https") or not host:
        shown = urlunsplit((parts.scheme, host, parts.path, "", ""))  # credentials left out
        raise ImproperlyConfigured(f"base_url must be an http:// or https:// URL, not {shown!r}.")
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def settings_mark(settings: Mapping[str, Any]) -> str:
    """What an identity says of settings that can change an answer: a hash of 16 hexadecimal
    characters, since they may hold secrets; "" if all are None or empty dicts."""
    given = {name: value for name, value in settings.items() if value not in (None, {})}
    if not given:
        return ""
    option = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    return sha256(orjson.dumps(given, default=_kind_or_wire, option=option)).hexdigest()[:16]


def _kind_or_wire(value: object) -> Any:
    """As on the wire; for functions and clients their kind, as their repr is another in every
    process, which would then share no entry."""
    try:
        return wire_default(value)
    except TypeError:
        return f"{type(value).__module__}.{type(value).__qualname__}"


class Body(NamedTuple):
    """A request's body: JSON bytes, or the fields and file of a form."""

    content: bytes | None = None
    data: dict[str, Any] | None = None
    files: dict[str, Any] | None = None


def body_of(request: UpstreamRequest, *, stream: bool, stream_usage: bool, provider: str) -> Body:
    """The body to send.

    Args:
        stream_usage: ask for a last chunk with the stream's usage, where the format has one.

    Raises:
        BadRequest: the request cannot be written in the format.
    """
    fields = {"model": request.model, **request.params, **request.unkeyed}
    fields.update(fields.pop("extra_body", None) or {})
    if request.kind == "transcription":
        return _form(fields, provider)
    if stream:
        fields["stream"] = True
        if stream_usage and request.kind in ("completion", "text_completion"):
            fields["stream_options"] = {**fields.get("stream_options", {}), "include_usage": True}
    else:
        fields.pop("stream_options", None)
    option = orjson.OPT_NON_STR_KEYS
    try:
        return Body(content=orjson.dumps(fields, default=wire_default, option=option))
    except (TypeError, ValueError) as error:
        cause = error.__cause__ or error
        text = f"the request cannot be written as JSON: {cause}"
        raise BadRequest(text, provider=provider) from error


def _form(fields: dict[str, Any], provider: str) -> Body:
    file = fields.pop("file")
    data: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, (list, tuple)):
            data[f"{name}[]"] = [_field(part) for part in value]
        else:
            data[name] = _field(value)
    try:
        return Body(data=data, files={"file": file_part(file)})
    except (OSError, AttributeError) as error:
        raise BadRequest(f"the file cannot be read: {error}", provider=provider) from error


def _field(value: object) -> str:
    if isinstance(value, str):
        return value
    return orjson.dumps(value, default=wire_default).decode()


def file_part(file: Any) -> tuple[Any, ...]:
    """A file as httpx wants it: (name, content) or (name, content, type). Content is read from its
    start and the position of an open file put back, as for the key."""
    if isinstance(file, tuple):
        name, content, *rest = file
        return (name, file_part(content)[1], *rest)
    if isinstance(file, (bytes, bytearray, memoryview)):
        return ("audio", bytes(file))
    if isinstance(file, (str, os.PathLike)):
        path = Path(file)
        return (path.name, path.read_bytes())
    start = file.tell()
    file.seek(0)
    try:
        content = file.read()
    finally:
        file.seek(start)
    name = getattr(file, "name", None)
    return (Path(name).name if isinstance(name, str) else "audio", content)


def headers_of(*sources: Mapping[str, Any], provider: str) -> dict[str, str]:
    """One set of headers; later sources replace earlier ones, whatever the names' case.

    Raises:
        BadRequest: a value cannot be sent. It is not shown, as it may be a key, and it is refused
            here because the HTTP library's own error would show it.
    """
    merged: dict[str, str] = {}
    for source in sources:
        for name, value in source.items():
            if value is None:
                continue
            if not isinstance(value, str) or not value.isascii() or _CONTROL.search(value):
                text = f"the header {name} is not text of printable ASCII characters"
                raise BadRequest(text, provider=provider)
            merged[name.lower()] = value
    return merged


def answer_of(request: UpstreamRequest, body: bytes, content_type: str, provider: str) -> bytes:
    """The JSON object in a successful answer.

    Raises:
        ServerFailed: there is none.
    """
    try:
        parsed = orjson.loads(body)
    except ValueError:
        parsed = None
    if request.kind == "transcription" and (
        "json" not in content_type
        or (parsed is None and request.params.get("response_format") in _TEXT_FORMATS)
    ):
        return orjson.dumps({"text": body.decode("utf-8", "replace")})
    if not isinstance(parsed, dict):
        what = "an empty answer" if not body.strip() else "an answer that is no JSON object"
        raise ServerFailed(f"sent {what} with status 200", status=200, provider=provider)
    if parsed.get("error") and parsed.get("object") != "response" and "choices" not in parsed:
        text = f"reported an error with status 200: {message_in(parsed) or 'no message'}"
        raise ServerFailed(text, status=200, body=parsed, provider=provider)
    return body


class StreamReader:
    """Follows one stream: gives its events' JSON and knows whether it ended as it should."""

    def __init__(self, kind: str, provider: str) -> None:
        self._kind = kind
        self._provider = provider
        self._parser = Parser()
        self._unfinished: set[int] = set()
        self._started = False
        self.complete = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The JSON of the events that this piece completes; nothing after the end marker.

        Raises:
            UpstreamError: the provider reports an error in the stream.
            StreamBroken: an event is not JSON or over the size limit.
        """
        try:
            events = self._parser.feed(piece)
        except SSEError as error:
            raise StreamBroken(str(error), provider=self._provider) from error
        found = []
        for event in events:
            if self.complete:
                break
            if event.data == b"[DONE]":
                self.complete = True
            elif event.data:  # events without data only keep the connection alive
                found.append(self._read(event))
        return found

    def end(self) -> None:
        """The connection has ended.

        Raises:
            StreamBroken: before the provider said that the answer is complete.
        """
        # Some providers send no [DONE]: then every choice that began must have said why it ended.
        ended = self._kind not in _FINAL and self._started and not self._unfinished
        if not (self.complete or ended):
            raise StreamBroken("the stream ended before it was complete", provider=self._provider)

    def _read(self, event: Event) -> bytes:
        try:
            parsed = orjson.loads(event.data)
        except ValueError as error:
            raise StreamBroken("an event is not JSON", provider=self._provider) from error
        if not isinstance(parsed, dict):
            raise StreamBroken("an event is not a JSON object", provider=self._provider)
        failure = parsed.get("error") if parsed.get("object") != "response" else None
        if failure or event.type == "error" or parsed.get("type") == "error":
            text = message_in(failure or parsed) or "the provider reported an error"
            raise UpstreamError(text, body=parsed, provider=self._provider)
        if self._kind in _FINAL:
            self.complete = parsed.get("type") in _FINAL[self._kind]
        else:
            self._note_choices(parsed)
        return orjson.dumps(parsed) if b"\n" in event.data else event.data

    def _note_choices(self, parsed: Mapping[str, Any]) -> None:
        for choice in parsed.get("choices") or ():
            self._started = True
            if choice.get("finish_reason"):
                self._unfinished.discard(choice.get("index", 0))
            else:
                self._unfinished.add(choice.get("index", 0))
