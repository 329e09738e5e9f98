"""Sound that is sent to an OpenAI-compatible server, over real HTTP, sync and async."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile

from llmcache.exceptions import BadRequest
from tests.servers.provider import Provider, answer
from tests.upstreams.test_openai import Driver, request, upstream


def parts_of(body: bytes, content_type: str) -> dict[str, list[tuple[bytes, bytes]]]:
    """A form's parts by name: the disposition's rest and the content."""
    boundary = content_type.partition("boundary=")[2].encode()
    found: dict[str, list[tuple[bytes, bytes]]] = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.strip(b"\r\n").partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        found.setdefault(name, []).append((head, content))
    return found


@pytest.fixture(
    params=["bytes", "BytesIO", "path", "str", "open", "pair", "triple", "django", "upload"]
)
def sound(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF")
    with path.open("rb") as opened:
        opened.seek(2)
        shapes: dict[str, Any] = {
            "bytes": b"RIFF",
            "BytesIO": io.BytesIO(b"RIFF"),
            "path": path,
            "str": str(path),
            "open": opened,
            "pair": ("a.wav", b"RIFF"),
            "triple": ("a.wav", io.BytesIO(b"RIFF"), "audio/wav"),
            "django": ContentFile(b"RIFF", name="a.wav"),
            "upload": SimpleUploadedFile("a.wav", b"RIFF", "audio/wav"),
        }
        yield shapes[request.param]


def test_a_file_of_any_shape_is_sent_whole(driver: Driver, provider: Provider, sound: Any) -> None:
    provider.script(answer({"text": "Hello"}))
    params = {"file": sound, "language": "en", "timestamp_granularities": ["word", "segment"]}
    for _ in range(2):
        assert driver.call(upstream(provider), request("transcription", params=params)) == {
            "text": "Hello"
        }
    for seen in provider.requests:
        assert seen.path == "/v1/audio/transcriptions"
        parts = parts_of(seen.body, seen.headers["content-type"])
        ((head, content),) = parts["file"]
        assert content == b"RIFF"
        assert b'filename="' in head
        assert parts["model"][0][1] == b"m"
        assert parts["language"][0][1] == b"en"
        granularities = [content for _, content in parts["timestamp_granularities[]"]]
        assert granularities == [b"word", b"segment"]


@pytest.mark.parametrize("file", ["/does/not/exist.wav", object()])
def test_a_file_that_cannot_be_read_is_the_requests_fault(
    driver: Driver, provider: Provider, file: object
) -> None:
    with pytest.raises(BadRequest, match="file cannot be read"):
        driver.call(upstream(provider), request("transcription", params={"file": file}))


@pytest.mark.parametrize("content_type", ["text/plain; charset=utf-8", "application/json"])
def test_a_transcript_in_plain_text_becomes_json(
    driver: Driver, provider: Provider, content_type: str
) -> None:
    text = "1\n00:00:00,000 --> 00:00:01,000\nHell\u00f6\n"
    provider.script(answer(text.encode(), content_type=content_type))
    params = {"file": b"RIFF", "response_format": "srt"}
    assert driver.call(upstream(provider), request("transcription", params=params)) == {
        "text": text
    }
