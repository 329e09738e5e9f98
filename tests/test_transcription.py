"""Transcriptions are keyed by the sound, whatever the file is called."""

from __future__ import annotations

import io
from typing import Any

from llmcache.upstreams.fake import FakeUpstream


def named(name: str, content: bytes) -> io.BytesIO:
    file = io.BytesIO(content)
    file.name = name
    return file


def test_the_same_sound_under_another_name_is_a_hit(door: Any, upstream: FakeUpstream) -> None:
    first = door.transcription(model="whisper-1", file=named("a.wav", b"RIFF1"))
    second = door.transcription(model="whisper-1", file=("b.mp3", b"RIFF1"))
    assert (first.cache.outcome, second.cache.outcome) == ("miss", "hit")
    assert first.text == second.text
    assert upstream.call_count == 1


def test_another_sound_of_the_same_name_is_a_miss(door: Any, upstream: FakeUpstream) -> None:
    first = door.transcription(model="whisper-1", file=named("a.wav", b"RIFF1"))
    second = door.transcription(model="whisper-1", file=named("a.wav", b"RIFF2"))
    assert second.cache.outcome == "miss"
    assert first.text != second.text


def test_parameters_other_than_the_file_count(door: Any) -> None:
    door.transcription(model="whisper-1", file=b"RIFF1", language="en")
    assert not door.transcription(model="whisper-1", file=b"RIFF1", language="de").cache.hit
    assert door.transcription(model="whisper-1", file=b"RIFF1", language="en").cache.hit


def test_an_upload_that_cannot_be_read_twice_is_not_cached(
    door: Any, upstream: FakeUpstream
) -> None:
    class Pipe:
        def read(self, size: int = -1) -> bytes:
            return b""

    upstream.responses = lambda request: "words"
    upstream._transcript = lambda request, identifier: {"text": "words"}  # type: ignore[method-assign]
    response = door.transcription(model="whisper-1", file=Pipe())
    assert response.cache.outcome == "bypass"
    assert "read twice" in response.cache.reason
