"""More vectors than there are real questions, and the stores that have them."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from benchmarks import given
from llmcache.backends.base import Item
from llmcache.backends.semantic.base import SemanticBackend, Vector
from llmcache.backends.semantic.local import LocalSemanticBackend


def many(number: int) -> NDArray[np.float32]:
    """So many vectors: the real ones that `given` has made, each moved a little."""
    lots = np.random.default_rng(7)
    real = np.stack([np.frombuffer(found.data, np.float32) for found in given.made.values()])
    return moved(real[lots.integers(0, len(real), number)], 7)


def moved(vectors: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Vectors of other questions, near these."""
    noise = np.random.default_rng(seed).normal(size=vectors.shape)
    near = vectors + noise.astype(np.float32) * 0.03
    return np.asarray(near / np.linalg.norm(near, axis=1, keepdims=True), np.float32)


def digest_of(number: int) -> str:
    """The entry of one of many vectors."""
    return sha256(f"{number}".encode()).hexdigest()


def place_of(number: int, partition: int = 0) -> tuple[str, str]:
    """The partition and the space of one of many vectors.

    Args:
        partition: how many a partition has; 0 for all of them.
    """
    return f"p{number // partition if partition else 0}", "s"


def store_vectors(
    store: SemanticBackend, vectors: NDArray[np.float32], which: range, partition: int = 0
) -> None:
    """Store some of many vectors, with entries."""
    for start in range(which.start, which.stop, 5000):
        part = range(start, min(which.stop, start + 5000))
        store.set_many([Item(digest_of(index), b"answer", None) for index in part])
        store.add(
            Vector(
                digest=digest_of(index),
                partition=place_of(index, partition)[0],
                space="s",
                prompt=f"question {index}",
                data=vectors[index].tobytes(),
                expires=None,
            )
            for index in part
        )


def wait_for_graph(store: SemanticBackend, data: bytes) -> None:
    """Until the thread that some stores have has built the graph over a large partition."""
    store.nearest(*place_of(0), data, 1)
    if isinstance(store, LocalSemanticBackend):
        store._graphs.wait(600)
