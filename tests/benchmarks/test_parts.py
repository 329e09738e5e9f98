"""Each part of a run gives its rows, with ours and what it is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks import concurrency, hits, misses, replays, timing
from benchmarks.contenders import Bench
from benchmarks.peer import Peer
from benchmarks.questions import answer
from llmcache.upstreams.fake import FakeUpstream
from tests.servers.redis import RedisServer
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, upstream: FakeUpstream) -> None:
    """Few and short rounds."""
    monkeypatch.setattr(timing, "ROUNDS", 2)
    monkeypatch.setattr(timing, "BUDGET", 0.001)
    upstream.responses = answer


@pytest.mark.parametrize("part", [hits.in_memory, hits.disk, replays.replays, misses.one_miss])
def test_parts_without_a_server(
    part: Callable[..., object], bench: Bench, tiny: Callable[..., Peer]
) -> None:
    rows = list(part(replace(bench, peers=[tiny()])))  # type: ignore[call-overload]
    for row in rows:
        assert {"ours", row.base} <= row.rounds.keys()
        assert (
            "tiny" in row.rounds
            or "tiny" in row.missing
            or "locmem" in row.name
            or ("forwarded" in row.name)
        )


def test_parts_on_redis(bench: Bench, own_redis: RedisServer) -> None:
    for part in (hits.redis, concurrency.hits):
        for row in part(bench, own_redis):
            assert {"ours", "floor"} <= row.rounds.keys()


def test_hits_on_s3(bench: Bench, s3_server: S3Server) -> None:
    for row in hits.s3(bench, s3_server):
        assert {"ours", "floor"} <= row.rounds.keys()
