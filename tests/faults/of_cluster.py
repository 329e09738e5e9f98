"""A Redis Cluster one of whose nodes hangs, or is replaced by its replica."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any

from tests.faults.of_redis import REDIS
from tests.faults.parts import ERROR, HIT, MISS, Part
from tests.servers.redis_cluster import IMPATIENT, Cluster, own_cluster, until

_LOOKS = 0.6
"""Seconds after which a client has looked for a node that has changed."""


def _store(cluster: Cluster) -> dict[str, Any]:
    return {"BACKEND": REDIS, "LOCATION": cluster.url, "OPTIONS": {"cluster": True}}


@contextmanager
def cluster_node_hangs(directory: Path) -> Iterator[Part]:
    """One of three nodes takes requests and says nothing, and has no replica."""
    with own_cluster() as cluster:
        node = cluster.primaries[0]
        yield Part(
            _store(cluster),
            lambda: node.send(signal.SIGSTOP),
            lambda: node.send(signal.SIGCONT),
            known={HIT, MISS, ERROR},
            new={MISS, ERROR},
            fails=False,  # a question may be another node's
        )


@contextmanager
def cluster_fails_over(directory: Path) -> Iterator[Part]:
    """One of three nodes was killed; its replica takes its place after some seconds."""
    with own_cluster(replicas=1, node_timeout=IMPATIENT) as cluster:
        node = cluster.primaries[0]

        def strike() -> None:
            node.ask("WAIT", 1, 10_000)
            node.kill()

        def mend() -> None:
            until(lambda: cluster.is_replaced(node), "the replica did not take over")
            sleep(_LOOKS)

        yield Part(
            _store(cluster),
            strike,
            mend,
            known={HIT, MISS, ERROR},
            new={MISS, ERROR},
            fails=False,
        )
