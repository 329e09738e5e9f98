"""Answers past their ttl: where they serve, that they say so, and that they are renewed."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.test import override_settings

from llmcache import caching, recorder
from llmcache.envelope import unseal
from llmcache.exceptions import (
    ServerFailed,
    StreamBroken,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from llmcache.models import HourlyStat
from llmcache.upstreams.fake import FakeUpstream

ASK = {"model": "m", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}


def test_stale_if_error_answers_for_a_failing_provider(door: Any, upstream: FakeUpstream) -> None:
    first = door.completion(**ASK, cache={"ttl": 0.1, "stale-if-error": 60})
    door.sleep(0.15)
    upstream.fail = 503
    response = door.completion(**ASK, cache={"stale-if-error": 60})
    assert (response.cache.outcome, response.id) == ("stale", first.id)
    assert "upstream failed" in response.cache.reason
    with pytest.raises(ServerFailed):
        door.completion(**ASK)


@pytest.mark.parametrize(
    "failure",
    [
        *(408, 409, 429, 500, 502, 503, 504, 529),
        UpstreamUnreachable("connection refused"),
        UpstreamTimeout("no answer in time"),
        StreamBroken("it ended before it was complete"),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_every_failure_of_the_provider_is_answered_and_counted_as_stale(
    door: Any, upstream: FakeUpstream, failure: Any, stream: bool, db: None
) -> None:
    window = {"stale-if-error": 600}
    first = door.completion(**ASK, cache={"ttl": 0.001, **window})
    time.sleep(0.002)
    upstream.fail = failure
    response = door.completion(**ASK, stream=stream, cache=window)
    assert (response.cache.outcome, response.cache.key) == ("stale", first.cache.key)
    if stream:
        assert {chunk.id for chunk in door.chunks(response)} == {first.id}
    else:
        assert response.id == first.id
    recorder.flush()
    assert HourlyStat.objects.get(outcome="stale").calls == 1
    assert not HourlyStat.objects.filter(outcome="failed")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 431, 451, 499])
def test_a_request_that_is_wrong_gets_its_error_not_an_old_answer(
    door: Any, upstream: FakeUpstream, status: int
) -> None:
    door.completion(**ASK, cache={"ttl": 0.001, "stale-if-error": 600})
    time.sleep(0.002)
    upstream.fail = status
    with pytest.raises(UpstreamError) as raised:
        door.completion(**ASK, cache={"stale-if-error": 600})
    assert raised.value.status == status


def test_stale_if_error_by_default_of_the_site(door: Any) -> None:
    from llmcache.upstreams import upstreams

    with override_settings(LLMCACHE_CONFIG={"DEFAULT_STALE_IF_ERROR": 60}):
        first = door.completion(**ASK, cache={"ttl": 0.1})
        door.sleep(0.15)
        upstreams["default"].fail = 500
        assert door.completion(**ASK).id == first.id


def test_stale_while_revalidate_answers_at_once_and_renews(
    door: Any, upstream: FakeUpstream
) -> None:
    window = {"ttl": 0.1, "stale-while-revalidate": 60}
    first = door.completion(**ASK, cache=window)
    door.sleep(0.15)
    upstream.latency = 0.1
    stale = [door.completion(**ASK, cache={**window, "ttl": 60}) for _ in range(3)]
    assert [response.cache.outcome for response in stale] == ["stale"] * 3
    assert {response.id for response in stale} == {first.id}
    for _ in range(100):
        door.sleep(0.02)
        fresh = door.completion(**ASK, cache={"only-if-cached": True, **window})
        if fresh.cache.outcome == "hit":
            break
    assert fresh.id != first.id
    assert upstream.call_count == 2


def test_a_stale_answer_serves_a_streamed_call_which_renews_it(
    door: Any, upstream: FakeUpstream
) -> None:
    window = {"stale-while-revalidate": 600}
    first = door.completion(**ASK, cache={"ttl": 0.001, **window})
    time.sleep(0.002)
    stale = door.completion(**ASK, stream=True, cache=window)
    assert stale.cache.outcome == "stale"
    assert {chunk.id for chunk in door.chunks(stale)} == {first.id}
    while (now := door.completion(**ASK, stream=True, cache=window)).cache.outcome != "hit":
        door.chunks(now)
        door.sleep(0.01)
    assert {chunk.id for chunk in door.chunks(now)} != {first.id}
    assert upstream.call_count == 2


@override_settings(LLMCACHE_CONFIG={"TTL_JITTER": 0.5})
def test_jitter_takes_up_to_its_share_off_the_ttl_and_no_more(door: Any) -> None:
    store, lives = caching.for_alias("default"), []
    for number in range(30):
        messages = [{"role": "user", "content": str(number)}]
        info = door.completion("m", messages=messages, cache={"ttl": 1000}).cache
        data = store.backend.get(info.key)
        envelope = unseal(info.key, data, signed=False)
        lives.append(envelope.expires - envelope.created)
    assert all(500 <= life <= 1000 for life in lives)
    assert max(lives) - min(lives) > 100
