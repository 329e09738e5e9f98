"""A provider in a process of its own, and peers of every sort of failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import upstream
from benchmarks.contenders import Bench
from benchmarks.peer import Kind, Peer

TINY = Kind(str(Path(__file__).with_name("tiny_peer.py")))


@pytest.fixture(scope="session")
def slow() -> Iterator[upstream.Upstream]:
    """The provider that the benchmarks ask."""
    with upstream.running() as made:
        yield made


@pytest.fixture
def bench(slow: upstream.Upstream, tmp_path: Path) -> Bench:
    """A run without peers."""
    return Bench([], slow, tmp_path)


@pytest.fixture
def tiny() -> Iterator[Callable[..., Peer]]:
    """Makes tiny peers, which end with the test."""
    made = []

    def make(name: str = "tiny", kind: Kind = TINY, patience: float = 30) -> Peer:
        made.append(Peer(name, kind, patience))
        return made[-1]

    yield make
    for peer in made:
        peer.close()
