"""Streams that are left before their end have cost an upstream call, and the ledger says so."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

import llmcache
from llmcache.models import Call, Entry
from llmcache.recorder import LEFT, flush
from llmcache.upstreams.fake import FakeUpstream
from tests.ledger.processes import sqlite_site

pytestmark = pytest.mark.django_db

ASK: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Count " + "on and on " * 20}],
}
ALONE = {"no-cache": True}
"""A stream that nobody else may read."""


def opened(door: Any, **cache: Any) -> Any:
    return door.completion(**ASK, stream=True, cache=cache)


def calls() -> list[tuple[str, str]]:
    """The outcome and the reason of each call in the log."""
    flush()
    return list(Call.objects.order_by("pk").values_list("outcome", "reason"))


@pytest.mark.parametrize("cache", [{}, ALONE], ids=["shared", "alone"])
def test_a_stream_that_is_left_is_in_the_log_and_not_in_the_store(
    door: Any, upstream: FakeUpstream, cache: dict[str, Any]
) -> None:
    stream = opened(door, **cache)
    door.chunks(stream, most=2)
    assert calls() == [("miss", LEFT)]
    row = Call.objects.get()
    assert row.streamed
    assert row.latency > 0
    assert not Entry.objects.exists()


def test_each_reader_of_a_shared_stream_is_in_the_log_as_it_ended(
    door: Any, upstream: FakeUpstream
) -> None:
    first, second = opened(door), opened(door)
    door.chunks(first, most=2)
    door.chunks(second)
    assert calls() == [("miss", LEFT), ("coalesced", "")]


def test_a_stream_that_was_read_to_its_end_is_not_left(door: Any, upstream: FakeUpstream) -> None:
    for cache in ({}, ALONE):
        stream = opened(door, **cache)
        door.chunks(stream)
        door.leave(stream)
    assert [reason for _, reason in calls()] == ["", "no-cache"]


@pytest.mark.parametrize("cache", [{}, ALONE], ids=["shared", "alone"])
def test_a_stream_that_nobody_reads_at_all_is_left_too(
    upstream: FakeUpstream, cache: dict[str, Any]
) -> None:
    stream = llmcache.completion(**ASK, stream=True, cache=cache)
    assert stream.cache.outcome == "miss"
    del stream
    gc.collect()
    assert calls() == [("miss", LEFT)]


@pytest.mark.parametrize("cache", [{}, ALONE], ids=["shared", "alone"])
def test_a_reader_that_is_cancelled_has_left(upstream: FakeUpstream, cache: dict[str, Any]) -> None:
    async def read() -> None:
        stream: Any = await llmcache.acompletion(**ASK, stream=True, cache=cache)
        first = await anext(stream)
        assert first
        upstream.chunk_latency = 60
        async for _ in stream:
            pass

    async def cancelled() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await read()

    upstream.chunk_latency = 0.05
    asyncio.run(cancelled())
    assert ("miss", LEFT) in calls()


def test_a_process_that_only_leaves_streams_writes_them_down_when_it_ends(tmp_path: Path) -> None:
    site = sqlite_site(tmp_path)
    site.run(
        """
        for cache in ({}, {"no-cache": True}):
            messages = [{"role": "user", "content": "hello"}]
            stream = llmcache.completion("m", messages=messages, stream=True, cache=cache)
            next(stream)
            del stream
        say("left")
        """
    )
    assert site.counts()["calls"] == 2
