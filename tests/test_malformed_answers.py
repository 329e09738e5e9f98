"""What a provider sends is not always what it should be: each such answer is a clear error, or is
handed on as it came; it is never stored, and never an error of ours."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcache.exceptions import ServerFailed
from llmcache.upstreams.base import UpstreamRequest
from llmcache.upstreams.fake import FakeUpstream
from tests.doors import AsyncDoor, SyncDoor

Door = SyncDoor | AsyncDoor

CALLS: dict[str, dict[str, Any]] = {
    "completion": {"messages": [{"role": "user", "content": "Hi"}]},
    "text_completion": {"prompt": "Hi"},
    "responses": {"input": "Hi"},
    "messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
    "embedding": {"input": ["a", "b"]},
    "transcription": {"file": ("a.wav", b"RIFF")},
}
NO_ANSWERS: list[Any] = [
    *(None, True, 7, "text", [], [1], {}),
    *({"data": None}, {"data": {}}, {"data": [1, 2]}, {"data": [{}, {}]}),
    *({"choices": None}, {"choices": 7}, {"choices": [None]}, {"choices": [{"message": 7}]}),
    *({"output": 7}, {"output": [7]}, {"error": {"message": "no"}}, {"text": 7}),
    {"data": [{"embedding": None}, {"embedding": [None]}]},
    {"data": [{"embedding": []}, {"embedding": [[1.0]]}]},
]
FIELDS = (
    *("data", "choices", "usage", "output", "text", "message", "embedding", "index", "content"),
    *("model", "status", "finish_reason", "prompt_tokens", "input_tokens"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
    ),
    max_leaves=10,
)


def two_vectors(*indexes: Any, **more: Any) -> dict[str, Any]:
    """An answer to CALLS["embedding"] whose parts have these indexes."""
    vectors = ([1.0], [2.0])
    parts = [{"index": index, "embedding": v} for index, v in zip(indexes, vectors, strict=True)]
    return {"object": "list", "model": "m", "data": parts, **more}


@pytest.fixture
def answering(upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the provider answer every call with this body."""

    def with_body(body: Any) -> None:
        content = body if isinstance(body, bytes) else orjson.dumps(body)

        def call(request: UpstreamRequest) -> bytes:
            upstream.calls.append(request)
            return content

        async def acall(request: UpstreamRequest) -> bytes:
            return call(request)

        monkeypatch.setattr(upstream, "call", call)
        monkeypatch.setattr(upstream, "acall", acall)

    return with_body


def ask_twice(door: Door, name: str, upstream: FakeUpstream, body: Any) -> None:
    """Both times upstream is asked: whatever came has not been stored."""
    before = upstream.call_count
    for _ in range(2):
        try:
            answer = getattr(door, name)(model="m", **CALLS[name])
        except ServerFailed as error:
            assert name == "embedding" and str(error)
            continue
        assert not answer.cache.stored, body
        assert not answer.cache.hit, body
        if name != "embedding":
            assert orjson.loads(answer.raw) == orjson.loads(orjson.dumps(body))
    assert upstream.call_count == before + 2


@pytest.mark.parametrize("name", CALLS)
def test_an_answer_that_is_none_is_not_stored(
    name: str, door: Door, upstream: FakeUpstream, answering: Any
) -> None:
    for body in NO_ANSWERS:
        answering(body)
        ask_twice(door, name, upstream, body)


@pytest.mark.parametrize("name", CALLS)
def test_no_json_that_a_provider_sends_is_an_error_of_ours(
    name: str, upstream: FakeUpstream, answering: Any
) -> None:
    door = SyncDoor()

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(body=JSON)
    def fuzz(body: Any) -> None:
        answering(body)
        try:
            getattr(door, name)(model="m", cache={"no-store": True}, **CALLS[name])
        except ServerFailed:
            assert name == "embedding"

    fuzz()


@pytest.mark.parametrize(
    "usage",
    [
        *(None, 7, [], {"prompt_tokens": None}, {"prompt_tokens": "x"}, {"prompt_tokens": -3}, {}),
        *({"prompt_tokens": 1e300}, {"prompt_tokens": 2**64 - 1}),
    ],
)
def test_embeddings_without_a_count_of_tokens_are_whole(
    usage: Any, door: Door, answering: Any
) -> None:
    answering(two_vectors(1, 0, usage=usage))
    for hit in (False, True):
        answer = door.embedding(model="m", input=["a", "b"])
        assert [part["embedding"] for part in answer.data] == [[2.0], [1.0]]
        assert answer.cache.hit is hit
        assert orjson.loads(answer.raw)["usage"]["prompt_tokens"] == 0


SAID = {
    "completion": {"choices": [{"index": 0, "message": {"content": "Hi"}}]},
    "text_completion": {"choices": [{"index": 0, "text": "Hi"}]},
    "responses": {"output": [{"type": "message", "content": []}], "status": "completed"},
    "messages": {"content": [{"type": "text", "text": "Hi"}]},
}


TOKENS = {
    "completion": "prompt_tokens",
    "text_completion": "completion_tokens",
    "responses": "input_tokens",
    "messages": "output_tokens",
}


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("tokens", [1e300, -1e300, 2**64 - 1])
def test_a_number_of_tokens_that_nobody_can_have_counted_is_handed_on_and_not_stored(
    name: str, tokens: float, door: Door, upstream: FakeUpstream, answering: Any
) -> None:
    body = {**SAID[name], "usage": {TOKENS[name]: tokens}}
    answering(body)
    ask_twice(door, name, upstream, body)


@pytest.mark.parametrize(
    "indexes", [(0, 0), (1, 2), (None, 0), ("0", "1"), (0, True), (-1, 0), ([], {})]
)
def test_vectors_that_cannot_be_told_apart_are_refused(
    indexes: tuple[Any, Any], door: Door, upstream: FakeUpstream, answering: Any
) -> None:
    answering(two_vectors(*indexes))
    for _ in range(2):
        with pytest.raises(ServerFailed, match="which embedding belongs to which item"):
            door.embedding(model="m", input=["a", "b"])
    assert upstream.call_count == 2


def test_an_answer_that_is_no_json_is_named(door: Door, answering: Any) -> None:
    answering(b"<html>")
    with pytest.raises(ServerFailed, match="default"):
        door.embedding(model="m", input=["a", "b"])
