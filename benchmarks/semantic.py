"""`python -m benchmarks.semantic [--vectors N] [--json FILE]`: what matching by meaning costs, with
real questions and the vectors of MiniLM: guards, embedding, and a search on disk in one large
partition. Hits on Redis are rows of `python -m benchmarks`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
django.setup()

import numpy as np  # noqa: E402

from benchmarks import given, many_vectors, results  # noqa: E402
from llmcache import backends  # noqa: E402
from llmcache.backends.semantic import guards  # noqa: E402
from llmcache.backends.semantic.base import SemanticBackend  # noqa: E402
from llmcache.backends.semantic.guards import reading  # noqa: E402
from llmcache.conf import BackendSettings  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=100_000, help="in the store on disk")
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    options = parser.parse_args()
    pairs = given.real_pairs()
    figures = {"guards_us": guard_cost(pairs)}
    figures["embed_ms"] = given.make(pairs) * 1e3
    print(f"MiniLM, one question: median {figures['embed_ms']:.1f} ms, {len(given.made)} questions")
    figures |= on_disk(options.vectors)
    if options.json:
        results.add(options.json, "semantic", figures)


def guard_cost(pairs: list[tuple[str, str]]) -> float:
    """Microseconds of all guards over two questions that were never seen before."""
    built = guards.build("GUARDS")
    taken = []
    for _ in range(5):
        reading._read_short.cache_clear()
        for one, other in pairs:
            started = perf_counter()
            guards.veto(built, one, other)
            taken.append(perf_counter() - started)
    print(f"guards, two fresh questions: median {median(taken) * 1e6:.0f} us (goal: 100)")
    return median(taken) * 1e6


def on_disk(number: int) -> dict[str, float]:
    """One partition of so many vectors."""
    vectors = many_vectors.many(number)
    path = "llmcache.backends.semantic.local.LocalSemanticBackend"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        store = backends.build(BackendSettings(alias="bench", backend=path, location=directory))
        assert isinstance(store, SemanticBackend)
        many_vectors.store_vectors(store, vectors, range(number))
        asked = vectors[np.random.default_rng(8).integers(0, number, 500)]
        nearest = (asked @ vectors.T).argmax(axis=1)
        started = perf_counter()
        store.nearest(*many_vectors.place_of(0), asked[0].tobytes(), 1)
        first = perf_counter() - started
        many_vectors.wait_for_graph(store, asked[0].tobytes())
        taken, right = [], 0
        for vector, best in zip(asked, nearest, strict=True):
            started = perf_counter()
            found = store.nearest(*many_vectors.place_of(0), vector.tobytes(), 1)
            taken.append(perf_counter() - started)
            right += found[0].digest == many_vectors.digest_of(best)
        store.close()
    figures = {
        "disk_search_ms": median(taken) * 1e3,
        "disk_recall_at_1": right / len(asked),
        "disk_first_search_ms": first * 1e3,
    }
    print(
        f"search on disk, {number} vectors in one partition: median "
        f"{figures['disk_search_ms']:.2f} ms (goal: 1), "
        f"recall@1 {figures['disk_recall_at_1']:.3f}, "
        f"first search {figures['disk_first_search_ms']:.0f} ms"
    )
    return figures


if __name__ == "__main__":
    main()
