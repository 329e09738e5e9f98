"""Misses: what one costs, and what a hundred identical ones at once cost a slow provider."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import httpx
import orjson
from django.test import override_settings

import llmcache
from benchmarks.contenders import Bench, contender
from benchmarks.peer import OURS, Peer
from benchmarks.peers.serving import CALLERS
from benchmarks.questions import digest, question
from benchmarks.timing import Contender, Row, calling, race
from llmcache import Cache, completion
from tests.servers.redis import RedisServer

WAIT = 0.3  # seconds that the slow provider takes
PROCESSES = 4
FEW = 5  # rounds

_numbers = count()


def one_miss(bench: Bench) -> Iterator[Row]:
    """A miss over HTTP and its store, against a plain httpx call with a get and a set."""
    address = {"base_url": bench.upstream.base_url, "api_key": "ours"}
    with override_settings(LLMCACHE_PROVIDERS={"default": {"OPTIONS": address}}):
        cache = llmcache.cache = Cache()
        asked = question(1024)
        kept: dict[str, bytes] = {}
        with httpx.Client() as client:

            def ours() -> object:
                return completion(**asked, seed=next(_numbers)).choices[0].message.content

            def plain() -> object:
                body = {**asked, "seed": next(_numbers)}
                kept.get(digest(body))
                raw = kept[digest(body)] = post(client, bench, body)
                return orjson.loads(raw)["choices"][0]["message"]["content"]

            job = bench.job("miss", {"type": "memory"}, asked)
            theirs = {peer.name: contender(peer, job) for peer in bench.peers_of("memory")}
            own = {"ours": calling(ours), "floor": calling(plain)}
            yield race("a miss", "1.25", {**own, **theirs})
        cache.close()


def post(client: httpx.Client, bench: Bench, body: dict[str, Any]) -> bytes:
    """The least that a call to the provider takes."""
    return client.post(
        f"{bench.upstream.base_url}/chat/completions",
        content=orjson.dumps(body),
        headers={"Content-Type": "application/json", "Authorization": "Bearer none"},
    ).content


def stampedes(bench: Bench, server: RedisServer) -> Iterator[Row]:
    """The same new question, asked by a hundred callers at once."""
    ours = [Peer("ours", OURS) for _ in range(PROCESSES)]
    bench.upstream.wait(WAIT)
    memory = {"type": "memory"}
    shared = {"type": "redis", "url": server.url, "port": server.port}
    try:
        for how in ("threads", "tasks"):
            contenders = {"ours": [ours[0]]}
            contenders.update({peer.name: [peer] for peer in bench.peers_of("memory")})
            yield stampede(bench, f"100 misses at once, {how}", how, contenders, memory)
        for how in ("threads", "tasks"):
            name = f"100 misses at once, {PROCESSES} processes, {how}"
            yield stampede(bench, name, how, {"ours": ours}, shared)
    finally:
        bench.upstream.wait(0.0)
        for peer in ours:
            peer.close()


def stampede(
    bench: Bench,
    name: str,
    how: str,
    contenders: Mapping[str, list[Peer]],
    store: Mapping[str, Any],
) -> Row:
    """A row, with the calls that reached the provider in a round."""
    calls: dict[str, list[int]] = {who: [] for who in contenders}

    def at_once(who: str, peers: list[Peer]) -> Contender:
        def run(times: int) -> float:
            asked = question(1024, f"Question {next(_numbers)}. ")
            job = bench.job(f"misses in {how}", store, asked)
            before = bench.upstream.count(who)
            job |= {"callers": CALLERS // len(peers), "start": time.monotonic() + 0.1}
            for peer in peers:
                peer.tell(job)
            seconds = max(float(peer.answer()["seconds"]) for peer in peers)
            calls[who].append(bench.upstream.count(who) - before)
            return seconds

        return run

    with httpx.Client(timeout=60) as client:
        alone = calling(lambda: post(client, bench, question(1024)))
        runs = {who: at_once(who, peers) for who, peers in contenders.items()}
        row = race(name, "1.5", {"one call": alone, **runs}, base="one call", rounds=FEW, times=1)
    # The first, before the rounds, wakes what sleeps.
    row.calls.update({who: calls[who][-FEW:] for who in row.rounds if who in calls})
    return row
