"""The semantic stores: where each is made, and its sync and its async door."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmcache.backends.base import Item
from llmcache.backends.semantic.base import SemanticBackend, Vector
from llmcache.backends.semantic.redis import RedisSemanticBackend
from llmcache.testing.store_contract import digest
from tests.backends.stores import Make, semantic_local, semantic_redis

FACTORIES = {"local": semantic_local, "redis": semantic_redis}
Floats = NDArray[np.float32]


def unit(*numbers: float) -> Floats:
    """A vector in this direction, of length 1."""
    vector = np.array(numbers, "f4")
    return np.asarray(vector / np.linalg.norm(vector), "f4")


def cloud(count: int, dimension: int = 16, seed: int = 1) -> Floats:
    """Vectors in random directions, of length 1."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype("f4")
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), "f4")


def vector(name: object, data: Floats, **changes: Any) -> Vector:
    """The vector of the entry that has the digest of this name."""
    values = {
        "digest": digest(name),
        "partition": "p",
        "space": "s",
        "prompt": str(name),
        "data": data.tobytes(),
        "expires": None,
    }
    return Vector(**{**values, **changes})


def fill(store: Any, names: Sequence[object], vectors: Floats, **changes: Any) -> None:
    """Store entries without an end, and their vectors."""
    store.set_many([Item(digest(name), str(name).encode(), None) for name in names])
    store.add([vector(name, vectors[n], **changes) for n, name in enumerate(names)])


def prompts(
    store: Any, data: Floats, limit: int = 5, partition: str = "p", space: str = "s"
) -> Any:
    """The prompts of the nearest."""
    found = store.nearest(partition, space, data.tobytes(), limit)
    return [neighbour.prompt for neighbour in found]


@pytest.fixture(params=sorted(FACTORIES))
def make(request: pytest.FixtureRequest, settings: Any) -> Iterator[Make]:
    """Makes semantic stores of one kind at one place; closes them after the test."""
    settings.LLMCACHE_CONFIG = {"BACKEND_TIMEOUT": 10.0}
    inner, made = FACTORIES[request.param](request), []

    def make(**changes: Any) -> SemanticBackend:
        backend = inner(**changes)
        assert isinstance(backend, SemanticBackend)
        made.append(backend)
        return backend

    yield make
    for backend in made:
        if isinstance(backend, RedisSemanticBackend):
            drop(backend)
        backend.close()


def drop(store: RedisSemanticBackend) -> None:
    """Leave no index behind: each one slows the server that tests share."""
    store.clear()
    for name in store.connections.primary.execute_command("FT._LIST"):
        if name.startswith(store._layout.head.encode()):
            store.connections.primary.execute_command("FT.DROPINDEX", name)
