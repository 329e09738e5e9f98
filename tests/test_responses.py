"""What callers get reads and changes like the providers' SDKs' own objects."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import orjson
import pytest

from llmcache.outcome import MISS, CacheInfo
from llmcache.response import Response
from llmcache.streaming import AsyncRecorded, Recorded

BODY: dict[str, Any] = {
    "id": "one",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}],
    "usage": {"total_tokens": 3},
}


@pytest.fixture
def response() -> Response:
    return Response(orjson.dumps(BODY), CacheInfo(MISS))


def test_absent_fields_are_none_where_the_sdks_have_them_and_errors_otherwise(
    response: Response,
) -> None:
    message = response.choices[0].message
    assert message.tool_calls is None and response.system_fingerprint is None
    for owner in (response, message):
        with pytest.raises(AttributeError, match="no field 'contnet'"):
            _ = owner.contnet
        assert not hasattr(owner, "contnet")
    with pytest.raises(AttributeError, match="no field 'choices'"):
        _ = Response(b"{}", CacheInfo(MISS)).choices


def test_a_response_is_changed_as_attributes_and_as_a_mapping(response: Response) -> None:
    message = response.choices[0].message
    message.content = "Ho"
    del message.role
    response.note = "mine"
    response["other"] = {"a": [{"b": 1}]}
    del response["id"]
    del response.usage
    assert response.other.a[0].b == 1
    assert list(response) == ["choices", "note", "other"] and len(response) == 3
    assert orjson.loads(response.raw) == {
        "choices": [{"index": 0, "message": {"content": "Ho"}}],
        "note": "mine",
        "other": {"a": [{"b": 1}]},
    }


def test_what_is_not_there_cannot_be_deleted(response: Response) -> None:
    for owner in (response, response.choices[0]):
        with pytest.raises(AttributeError, match="no field 'nothing'"):
            del owner.nothing
    with pytest.raises(KeyError):
        del response["nothing"]
    with pytest.raises(AttributeError):
        del response.cache
    assert response.cache.outcome == MISS


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))]
)
def test_a_copy_is_equal_and_ones_own(response: Response, copied: Any) -> None:
    response.choices[0].message.content = "Ho"
    other = copied(response)
    assert other == response and other.cache.outcome == MISS
    other.choices[0].message.content = "He"
    assert response.choices[0].message.content == "Ho"


def test_a_response_compares_by_what_it_says(response: Response) -> None:
    assert response == BODY and response == Response(response.raw, CacheInfo("hit"))
    assert response != {**BODY, "id": "two"} and response != "one" and response != 1


def test_plain_forms(response: Response) -> None:
    assert response.model_dump() == BODY and type(response.model_dump()["usage"]) is dict
    message = response.choices[0].message
    assert message.model_dump(exclude_none=True) == BODY["choices"][0]["message"]
    assert type(message.model_dump()) is dict
    assert response.json() == response.model_dump_json() == orjson.dumps(BODY).decode()
    assert response.model_dump_json(indent=2).startswith('{\n  "id"')


CHUNKS = [b'{"id":"1"}', b'{"id":"2"}', b'{"id":"3"}']


def test_a_recorded_stream_can_be_read_by_hand_and_left() -> None:
    stream = Recorded(CHUNKS, CacheInfo("hit"))
    with stream as entered:
        assert entered is stream and next(stream).id == "1"
    assert list(stream) == []
    with pytest.raises(StopIteration):
        next(stream)


async def test_a_recorded_async_stream_can_be_read_by_hand_and_left() -> None:
    stream = AsyncRecorded(CHUNKS, CacheInfo("hit"))
    async with stream as entered:
        assert entered is stream and (await anext(stream)).id == "1"
    assert [chunk async for chunk in stream] == []
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
