"""From a path and a body to a call: known paths only, and nothing but one kind of error."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcache.exceptions import InvalidRequest
from llmcache.http.requests import arguments_of, form_fields, kind_of, text_format


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v1/chat/completions", ("completion", "/v1")),
        ("/v1/completions/", ("text_completion", "/v1")),
        ("/openai/deployments/x/chat/completions", ("completion", "/openai/deployments/x")),
        ("/v1/responses", ("responses", "/v1")),
        ("/v1/messages", ("messages", "/v1")),
        ("/embeddings", ("embedding", "")),
        ("/v1/audio/transcriptions", ("transcription", "/v1")),
        ("/v1/audio/translations", None),
        ("/v1/responses/resp_1", None),
        ("/v1/responses/resp_1/cancel", None),
        ("/v1/messages/count_tokens", None),
        ("/v1/messages/batches", None),
        ("/v1/files", None),
        ("/", None),
    ],
)
def test_only_known_ends_of_paths_are_calls(path: str, found: tuple[str, str] | None) -> None:
    assert kind_of(path) == found


def test_a_form_is_read_with_its_file_lists_and_numbers() -> None:
    parts = {
        'name="model"': b"whisper-1",
        'name="temperature"': b"0.5",
        'name="timestamp_granularities[]"': b"word",
        'name="file"; filename="a.wav"\r\nContent-Type: audio/wav': b"\x00\r\nsound",
    }
    body = b"".join(
        b"--b\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (head.encode(), content)
        for head, content in parts.items()
    )
    found = arguments_of("transcription", body + b"--b--\r\n", "multipart/form-data; boundary=b")
    assert found == {
        "model": "whisper-1",
        "temperature": 0.5,
        "timestamp_granularities": ["word"],
        "file": ("a.wav", b"\x00\r\nsound", "audio/wav"),
    }


def test_a_number_that_is_none_stays_as_it_was_written() -> None:
    assert form_fields({"temperature": ["warm"]}) == {"temperature": "warm"}


def test_formats_of_text_are_known() -> None:
    assert text_format({"response_format": "vtt"}) == "text/vtt"
    assert text_format({"response_format": "verbose_json"}) is None
    assert text_format({}) is None


@pytest.mark.parametrize("kind", ["completion", "transcription"])
@given(body=st.binary(max_size=200), content_type=st.text(max_size=60))
def test_whatever_is_sent_is_read_or_refused(kind: str, body: bytes, content_type: str) -> None:
    with suppress(InvalidRequest):
        assert isinstance(arguments_of(kind, body, content_type), dict)


@given(body=st.binary(max_size=200))
def test_whatever_is_sent_as_a_form_is_read_or_refused(body: bytes) -> None:
    with suppress(InvalidRequest):
        arguments_of("transcription", b"--b\r\n" + body, "multipart/form-data; boundary=b")
