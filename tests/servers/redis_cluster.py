"""A real Redis Cluster of servers of the tests' own, put together by commands."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.servers.ports import Missing
from tests.servers.redis import RedisServer, plain_server

SLOTS = 16384
PATIENT = 60_000  # milliseconds that a node may be silent before the others give it up
IMPATIENT = 1500  # the same where tests wait for it; on a busy machine healthy nodes are given up


@dataclass
class Node(RedisServer):
    """One server of a cluster.

    Attributes:
        id: its name within the cluster.
    """

    id: str = ""
    password: str = ""

    def ask(self, *command: Any) -> Any:
        """The reply to one command."""
        import redis

        with redis.Redis(
            port=self.port, password=self.password, protocol=2, socket_timeout=5
        ) as client:
            return client.execute_command(*command)

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@dataclass
class Cluster:
    """Primaries with equal shares of the slots, and the replicas of the first ones."""

    primaries: list[Node]
    replicas: list[Node] = field(default_factory=list)

    @property
    def nodes(self) -> list[Node]:
        return [*self.primaries, *self.replicas]

    @property
    def url(self) -> str:
        """All primaries, as LOCATION takes them."""
        return ",".join(node.url for node in self.primaries)

    def owner(self, key: str) -> Node:
        """The primary that has the slot of a key by the shares of the beginning."""
        slot = self.primaries[0].ask("CLUSTER", "KEYSLOT", key)
        share = SLOTS / len(self.primaries)
        return self.primaries[min(int(slot / share), len(self.primaries) - 1)]

    def is_replaced(self, primary: Node) -> bool:
        """Whether the others have given its slots to its replica."""
        watching = next(node for node in self.primaries if node is not primary)
        owners = {part[2][2] for part in watching.ask("CLUSTER", "SLOTS")}
        return primary.id.encode() not in owners

    def move(self, key: str, target: Node, *, finish: bool = True) -> None:
        """Move the slot of a key from its owner to another primary, keys included.

        Args:
            finish: False leaves the slot on its way: its keys are there, its owner is the old one.

        """
        source = self.owner(key)
        if source is target:
            return
        slot = int(source.ask("CLUSTER", "KEYSLOT", key))
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        if finish:
            for node in (target, source):
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)


def until(ready: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Return once something is so; raise if it takes too long."""
    import redis

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(redis.RedisError, OSError):
            if ready():
                return
        time.sleep(0.05)
    raise RuntimeError(f"{what} in {seconds:g} s")


def _free_ports() -> int:
    """A port such that both it and its bus port, 10,000 above, are free."""
    for _ in range(100):
        with socket.socket() as one, socket.socket() as bus:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            if port > 55_000:
                continue
            with suppress(OSError):
                bus.bind(("127.0.0.1", port + 10_000))
                return port
    raise RuntimeError("no two free ports, 10,000 apart")


@contextmanager
def own_cluster(
    primaries: int = 3,
    replicas: int = 0,
    *,
    password: str = "",
    node_timeout: int = PATIENT,
) -> Iterator[Cluster]:
    """A cluster of the caller's own, whose nodes it may stop or hang."""
    secured = ("--requirepass", password, "--masterauth", password) if password else ()
    with ExitStack() as stack:
        nodes = []
        for _ in range(primaries + replicas):
            server = stack.enter_context(
                plain_server(
                    *("--cluster-enabled", "yes", "--cluster-node-timeout", str(node_timeout)),
                    *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
                    *("--repl-ping-replica-period", "1"),  # replicas are listed after the first
                    *("--cluster-require-full-coverage", "no", *secured),
                    port=_free_ports(),
                )
            )
            nodes.append(Node(server.url, server.port, server.process, password=password))
        cluster = Cluster(nodes[:primaries], nodes[primaries:])
        _join(cluster)
        yield cluster


def _join(cluster: Cluster) -> None:
    first = cluster.primaries[0]
    for number, node in enumerate(cluster.primaries):
        low = SLOTS * number // len(cluster.primaries)
        high = SLOTS * (number + 1) // len(cluster.primaries) - 1
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        node.ask("CLUSTER", "ADDSLOTSRANGE", low, high)
    for node in cluster.nodes:
        node.id = node.ask("CLUSTER", "MYID").decode()
        if node is not first:
            node.ask("CLUSTER", "MEET", "127.0.0.1", first.port)
    everybody = len(cluster.nodes)
    for node in cluster.nodes:
        until(lambda n=node: _known(n) == everybody, "the nodes did not meet")  # type: ignore[misc]
    for replica, primary in zip(cluster.replicas, cluster.primaries, strict=False):
        replica.ask("CLUSTER", "REPLICATE", primary.id)
    for node in cluster.nodes:
        until(lambda n=node: _is_ready(n, cluster), "the cluster did not form")  # type: ignore[misc]


def _known(node: Node) -> int:
    return sum(1 for line in node.ask("CLUSTER", "NODES").splitlines() if b"handshake" not in line)


def _is_ready(node: Node, cluster: Cluster) -> bool:
    """Whether a node sees every slot served, and every replica where it belongs, in step."""
    if b"cluster_state:ok" not in node.ask("CLUSTER", "INFO"):
        return False
    ranges = node.ask("CLUSTER", "SLOTS")
    if sum(len(part) - 3 for part in ranges) != len(cluster.replicas):
        return False
    return node not in cluster.replicas or node.ask("INFO")["master_link_status"] == "up"


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[Cluster]:
    """Three primaries that tests share; they keep apart by prefixes of their own."""
    from tests.conftest import missing

    try:
        with own_cluster() as cluster:
            yield cluster
    except Missing as error:
        missing("Redis Cluster", error)


@pytest.fixture
def frail_cluster() -> Iterator[Cluster]:
    """Three primaries and a replica of the first, of one test's own, to hang or kill."""
    from tests.conftest import missing

    try:
        with own_cluster(replicas=1, node_timeout=IMPATIENT) as cluster:
            yield cluster
    except Missing as error:
        missing("Redis Cluster", error)
