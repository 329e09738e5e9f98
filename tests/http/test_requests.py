"""A provider's HTTP requests are read as calls, or refused in words; nothing else ever happens."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcache.exceptions import InvalidRequest
from llmcache.http import requests
from llmcache.upstreams.base import KINDS


@pytest.mark.parametrize(
    ("path", "kind", "base"),
    [
        ("/v1/chat/completions", "completion", "/v1"),
        ("/chat/completions/", "completion", ""),
        ("/v1/completions", "text_completion", "/v1"),
        ("/v1/responses", "responses", "/v1"),
        ("/v1/messages", "messages", "/v1"),
        ("/v1/embeddings", "embedding", "/v1"),
        ("/v1/audio/transcriptions", "transcription", "/v1"),
        (
            "/openai/deployments/x/chat/completions",
            "completion",
            "/openai/deployments/x",
        ),
    ],
)
def test_known_paths_have_their_kind_and_what_comes_before(path: str, kind: str, base: str) -> None:
    assert requests.kind_of(path) == (kind, base)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1/models",
        "/v1/files",
        "/v1/messages/batches",
        "/v1/messages/count_tokens",
        "/v1/responses/resp_1",
        "/v1/responses/resp_1/cancel",
        "/v1/chat/completions/chatcmpl-1",
        "/v1/chat/completionsx",
        "/v1/xcompletions",
        "/v1/threads/t_1/messages",
        "/v1/conversations/c_1/responses",
        "/v1/audio/translations",
    ],
)
def test_other_paths_have_none(path: str) -> None:
    assert requests.kind_of(path) is None


def test_further_paths_come_before_the_known_ones() -> None:
    more = {"/chat": "completion", "/special/completions": "completion"}
    assert requests.kind_of("/v2/chat", more) == ("completion", "/v2")
    assert requests.kind_of("/v2/special/completions", more) == ("completion", "/v2")
    assert requests.kind_of("/v2/completions", more) == ("text_completion", "/v2")


@given(st.text(max_size=60))
def test_any_path_has_a_known_kind_or_none(path: str) -> None:
    found = requests.kind_of(path)
    assert found is None or found[0] in KINDS


@given(st.sampled_from(KINDS), st.binary(max_size=200), st.text(max_size=80))
def test_any_bytes_are_arguments_or_an_invalid_request(
    kind: str, body: bytes, content_type: str
) -> None:
    try:
        assert isinstance(requests.arguments_of(kind, body, content_type), dict)
    except InvalidRequest as error:
        assert str(error)


@given(st.binary(max_size=300))
def test_any_form_is_arguments_or_an_invalid_request(part: bytes) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n' + part
    for content in (body, body + b"\r\n--b--\r\n", part):
        try:
            made = requests.arguments_of(
                "transcription", content, "multipart/form-data; boundary=b"
            )
            assert isinstance(made["file"], tuple)
        except InvalidRequest as error:
            assert str(error)


@given(st.recursive(st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner)))
def test_json_that_is_no_object_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="JSON object"):
        requests.arguments_of("completion", orjson.dumps(value), "application/json")


@given(st.dictionaries(st.text(), st.text() | st.integers(-(2**31), 2**31)))
def test_a_json_object_is_its_members(value: dict[str, Any]) -> None:
    body = orjson.dumps(value)
    assert requests.arguments_of("completion", body, "application/json") == value


def form(**fields: Any) -> tuple[bytes, str]:
    files = {"file": ("speech.mp3", b"\x00RIFF\xff", "audio/mpeg")}
    request = httpx.Request("POST", "http://x", data=fields, files=files)
    return request.read(), request.headers["content-type"]


def test_a_form_is_its_fields_and_its_file() -> None:
    body, kind = form(
        **{"model": "m", "temperature": "0.5", "stream": "true", "include[]": ["a", "b"]}
    )
    assert requests.arguments_of("transcription", body, kind) == {
        "model": "m",
        "temperature": 0.5,
        "stream": True,
        "include": ["a", "b"],
        "file": ("speech.mp3", b"\x00RIFF\xff", "audio/mpeg"),
    }


def test_a_large_file_is_read_whole() -> None:
    files = {"file": ("a.wav", bytes(6_000_000))}
    request = httpx.Request("POST", "http://x", files=files)
    made = requests.arguments_of("transcription", request.read(), request.headers["content-type"])
    assert len(made["file"][1]) == 6_000_000


def test_a_form_without_a_file_is_refused_in_words() -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--b--\r\n'
    with pytest.raises(InvalidRequest, match="as the field 'file'"):
        requests.arguments_of("transcription", body, "multipart/form-data; boundary=b")


@pytest.mark.parametrize(
    ("format", "type"),
    [("srt", "application/x-subrip"), ("vtt", "text/vtt"), ("text", "text/plain"), ("json", None)],
)
def test_transcripts_as_text_have_their_content_type(format: str, type: str | None) -> None:
    assert requests.text_format({"response_format": format}) == type
