"""Searches by meaning among more and more vectors: on disk, and in Redis, all in one partition and
in partitions of a hundred.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from benchmarks import given, many_vectors
from benchmarks.spreads import Spread, steady
from llmcache import backends
from llmcache.backends.semantic.base import SemanticBackend
from llmcache.conf import BackendSettings

_TEXTS: Final = 200
_SMALL: Final = 100
_LOCAL: Final = "llmcache.backends.semantic.local.LocalSemanticBackend"
_REDIS: Final = "llmcache.backends.semantic.redis.RedisSemanticBackend"
STORES: Final = {
    "on disk": (_LOCAL, {}, 0),
    "in Redis, flat": (_REDIS, {"algorithm": "flat"}, 0),
    "in Redis, hnsw": (_REDIS, {"algorithm": "hnsw"}, 0),
    "in Redis, flat, partitions of 100": (_REDIS, {"algorithm": "flat"}, _SMALL),
}
"""The class, its OPTIONS, and how many vectors a partition has; 0 for all of them."""


def measure(
    sizes: Sequence[int], tries: int, directory: Path, redis_url: str
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Of each store at each size: `search` (seconds of one), `add` (of a vector, on average), and
    `right`, the share of searches that found the very nearest.
    """
    given.make(given.real_pairs()[: min(_TEXTS, max(sizes) // 4) // 2])
    vectors = many_vectors.many(max(sizes))
    for name, (path, options, partition) in STORES.items():
        store = backends.build(
            BackendSettings(
                alias="default",
                backend=path,
                location=str(directory) if path == _LOCAL else redis_url,
                key_prefix=uuid.uuid4().hex,
                options=options,
            )
        )
        assert isinstance(store, SemanticBackend)
        have = 0
        for size in sizes:
            started = perf_counter()
            many_vectors.store_vectors(store, vectors, range(have, size), partition)
            added = (perf_counter() - started) / (size - have)
            have = size
            searched, right = _search(store, vectors[:size], partition, tries)
            yield name, size, {"search": searched, "add": added, "right": right}
        store.close()


def _search(
    store: SemanticBackend, vectors: Any, partition: int, tries: int
) -> tuple[Spread, float]:
    lots, size = random.Random(7), len(vectors)
    store.nearest(*many_vectors.place_of(0, partition), vectors[0].tobytes(), 1)
    many_vectors.wait_for_graph(store, vectors[0].tobytes())
    questions = []
    for _ in range(tries):  # before the searches: numpy's threads are busy for a while after it
        number = lots.randrange(size)
        asked = many_vectors.moved(vectors[number : number + 1], number)[0]
        start = number - number % partition if partition else 0
        among = vectors[start : start + partition] if partition else vectors
        best = start + int((among @ asked).argmax())
        questions.append((many_vectors.place_of(number, partition), asked.tobytes(), best))
    taken, right = [], 0
    for place, data, best in questions:
        started = perf_counter()
        found = store.nearest(*place, data, 1)
        taken.append(perf_counter() - started)
        right += bool(found) and found[0].digest == many_vectors.digest_of(best)
    return steady(taken), right / tries
