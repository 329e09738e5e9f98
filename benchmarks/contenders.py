"""Who runs in a row: ours and the floor in this process, the peers in theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llmcache
from benchmarks.peer import Peer
from benchmarks.questions import ANSWER
from benchmarks.timing import Contender, Row, calling, race
from benchmarks.upstream import Upstream
from llmcache import Cache, completion

# The older LiteLLM is there for the one store that the newer has not got.
ONLY: Mapping[str, str] = {"LiteLLM 1.108": "disk"}


@dataclass(frozen=True)
class Bench:
    """What all rows share.

    Attributes:
        directory: for stores on disk.
    """

    peers: list[Peer]
    upstream: Upstream
    directory: Path

    def peers_of(self, store: str) -> Iterator[Peer]:
        """Those that belong into a row about such a store."""
        for peer in self.peers:
            if ONLY.get(peer.name, store) == store:
                yield peer

    def job(self, path: str, store: Mapping[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
        """A job for the peers."""
        return {
            "path": path,
            "store": {"directory": str(self.directory), **store},
            "base_url": self.upstream.base_url,
            "asked": asked,
            "answer": ANSWER,
        }

    def race_hits(
        self,
        name: str,
        goal: str,
        own: Mapping[str, Contender],
        job: Mapping[str, Any],
        **options: Any,
    ) -> Row:
        """Ours and the floor beside the peers. Who asks the provider more than once, to fill its
        cache, does not hit: it gets no figure.
        """
        peers = list(self.peers_of(job["store"]["type"]))
        before = {peer.name: self.upstream.count(peer.name) for peer in peers}
        theirs = {peer.name: contender(peer, job) for peer in peers}
        row = race(name, goal, {**own, **theirs}, **options)
        for who in theirs:
            asked = self.upstream.count(who) - before[who]
            if asked > 1 and who in row.rounds:
                del row.rounds[who]
                row.missing[who] = f"no hits: it asked the provider {asked} times"
        return row


def contender(peer: Peer, job: Mapping[str, Any]) -> Contender:
    """A peer's rounds of a job."""

    def run(times: int) -> float:
        return float(peer.do({**job, "times": times})["seconds"])

    return run


def ours(cache: Cache, asked: dict[str, Any]) -> tuple[Contender, bytes]:
    """Hits of our cache, and the answer's bytes for the floor to store."""
    llmcache.cache = cache
    body: bytes = completion(**asked).raw

    def hit() -> str:
        text: str = completion(**asked).choices[0].message.content
        return text

    assert completion(**asked).cache.hit

    def run(times: int) -> float:
        llmcache.cache = cache
        return calling(hit)(times)

    return run, body
