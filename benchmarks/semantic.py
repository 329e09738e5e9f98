"""`python -m benchmarks.semantic [--vectors N]`: what matching by meaning costs, with real
questions and the vectors of MiniLM: guards, a search in Redis beside RedisVL's own cache, a whole
hit, and a search on disk in one large partition.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import uuid
from collections.abc import Callable
from hashlib import sha256
from itertools import cycle
from statistics import median
from time import perf_counter, sleep, time
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
django.setup()

import numpy as np  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import override_settings  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

import llmcache  # noqa: E402
from benchmarks.timing import calling, race  # noqa: E402
from llmcache import backends, embedders, recorder  # noqa: E402
from llmcache.backends.base import Item  # noqa: E402
from llmcache.backends.semantic import guards  # noqa: E402
from llmcache.backends.semantic.base import SemanticBackend, Vector  # noqa: E402
from llmcache.backends.semantic.guards import reading  # noqa: E402
from llmcache.backends.semantic.local import LocalSemanticBackend  # noqa: E402
from llmcache.conf import BackendSettings  # noqa: E402
from llmcache.embedders.base import BaseEmbedder, Embedded  # noqa: E402
from llmcache.evaluation import rows  # noqa: E402
from tests.servers import redis  # noqa: E402

ANSWER = "An answer of some length. " * 20
DAY = 86_400.0

_given: dict[str, Embedded] = {}


class Given(BaseEmbedder):
    """Gives the vectors that were made before: the search is measured, not the model."""

    threshold = 0.7

    def embed(self, text: str) -> Embedded | None:
        return _given[text]

    async def aembed(self, text: str) -> Embedded | None:
        return _given[text]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=100_000, help="in the store on disk")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    pairs = [
        tuple(question["params"]["messages"][-1]["content"] for question in row.materials())
        for row in rows.sample()
    ]
    guard_cost(pairs)
    texts = list(dict.fromkeys(text for pair in pairs for text in pair))
    embed(texts)
    with redis.own_server() as server:
        beside_redisvl(texts, server.url)
        whole_hit(pairs, server.url)
    on_disk(texts, options.vectors)


def guard_cost(pairs: list[tuple[str, str]]) -> None:
    """All guards over two questions that were never seen before."""
    built = guards.build("GUARDS")
    taken = []
    for _ in range(5):
        reading._read_short.cache_clear()
        for one, other in pairs:
            started = perf_counter()
            guards.veto(built, one, other)
            taken.append(perf_counter() - started)
    print(f"guards, two fresh questions: median {median(taken) * 1e6:.0f} us (goal: 100)")


def embed(texts: list[str]) -> None:
    model = embedders.build("EMBEDDER", "minilm", backends.stores["default"])
    taken = []
    for text in texts:
        started = perf_counter()
        found = model.embed(text)
        taken.append(perf_counter() - started)
        assert found is not None
        _given[text] = found
    print(f"MiniLM, one question: median {median(taken) * 1e3:.1f} ms, {len(texts)} questions")


def fill(store: SemanticBackend, texts: list[str], partition: str) -> None:
    digests = [sha256(f"{partition} {text}".encode()).hexdigest() for text in texts]
    store.set_many([Item(digest, ANSWER.encode(), DAY) for digest in digests])
    store.add(
        Vector(
            digest=digest,
            partition=partition,
            space=_given[text].space,
            prompt=text,
            data=_given[text].data,
            expires=time() + DAY,
        )
        for digest, text in zip(digests, texts, strict=True)
    )


def beside_redisvl(texts: list[str], url: str) -> None:
    """A search with its vector given, on the same server."""
    from redisvl.extensions.cache.llm import SemanticCache
    from redisvl.utils.vectorize import CustomVectorizer

    zeros = [0.0] * 384
    peer: Any = SemanticCache(
        name="peer",
        redis_url=url,
        vectorizer=CustomVectorizer(embed=lambda text: zeros),
        distance_threshold=0.3,
    )
    path = "llmcache.backends.semantic.redis.RedisSemanticBackend"
    store = backends.build(BackendSettings(alias="bench", backend=path, location=url))
    assert isinstance(store, SemanticBackend)
    fill(store, texts, "p")
    lists = {text: np.frombuffer(_given[text].data, np.float32).tolist() for text in texts}
    for text in texts:
        peer.store(prompt=text, response=ANSWER, vector=lists[text])
    sleep(1)  # the server indexes in the background
    space = _given[texts[0]].space

    def ours(text: str) -> object:
        return store.nearest("p", space, _given[text].data, 1)

    def theirs(text: str) -> object:
        return peer.check(vector=lists[text])

    compare(f"search in Redis, {len(texts)} vectors", "1.0", texts, ours, theirs, "RedisVL")


def compare(
    name: str,
    goal: str,
    texts: list[str],
    ours: Callable[[str], object],
    theirs: Callable[[str], object],
    who: str,
) -> None:
    mine, other = cycle(texts), cycle(texts)
    contenders = {
        "ours": calling(lambda: ours(next(mine))),
        who: calling(lambda: theirs(next(other))),
    }
    result = race(name, goal, contenders, times=40, rounds=25)
    print(
        f"{name}: {result.ratios[who]:.2f}x {who} (goal: {goal}); ours "
        f"{result.seconds['ours'] * 1e6:.0f} us, {who} {result.seconds[who] * 1e6:.0f} us"
    )


def whole_hit(pairs: list[tuple[str, str]], url: str) -> None:
    """A call that is answered from a similar one: key, miss, search, guards, answer."""
    store = {
        "BACKEND": "llmcache.backends.semantic.redis.RedisSemanticBackend",
        "LOCATION": url,
        "KEY_PREFIX": uuid.uuid4().hex,
        "OPTIONS": {"embedder": "benchmarks.semantic.Given"},
    }
    fake = {"default": {"BACKEND": "llmcache.upstreams.fake.FakeUpstream"}}
    with override_settings(LLMCACHE={"default": store}, LLMCACHE_PROVIDERS=fake):
        from benchmarks import semantic

        semantic._given = _given  # this file is __main__ as well

        def ask(text: str, **cache: Any) -> Any:
            messages = [{"role": "user", "content": text}]
            return llmcache.completion("m", messages=messages, cache=cache)

        for stored, _ in pairs:
            ask(stored, **{"no-cache": True})
        asked = []
        for stored, text in pairs:
            answer = ask(text, **{"no-store": True})
            if answer.cache.hit and answer.cache.similarity < 1 and stored != text:
                asked.append(text)
        near = cycle(asked)
        run = calling(lambda: ask(next(near), **{"no-store": True}))
        run(len(asked))
        taken = median(run(40) for _ in range(15))
        print(f"a similar hit as a whole, in Redis, vector given: {taken * 1e6:.0f} us")
        recorder.flush()


def many(texts: list[str], number: int) -> NDArray[np.float32]:
    """So many vectors: real ones, each moved a little."""
    lots = np.random.default_rng(7)
    real = np.stack([np.frombuffer(_given[text].data, np.float32) for text in texts])
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


def on_disk(texts: list[str], number: int) -> None:
    """One partition of so many vectors."""
    vectors = many(texts, number)
    path = "llmcache.backends.semantic.local.LocalSemanticBackend"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        store = backends.build(BackendSettings(alias="bench", backend=path, location=directory))
        assert isinstance(store, SemanticBackend)
        store_vectors(store, vectors, range(number))
        asked = vectors[np.random.default_rng(8).integers(0, number, 500)]
        nearest = (asked @ vectors.T).argmax(axis=1)
        started = perf_counter()
        store.nearest(*place_of(0), asked[0].tobytes(), 1)
        first = perf_counter() - started
        wait_for_graph(store, asked[0].tobytes())
        taken, right = [], 0
        for vector, best in zip(asked, nearest, strict=True):
            started = perf_counter()
            found = store.nearest(*place_of(0), vector.tobytes(), 1)
            taken.append(perf_counter() - started)
            right += found[0].digest == digest_of(best)
        print(
            f"search on disk, {number} vectors in one partition: median "
            f"{median(taken) * 1e3:.2f} ms (goal: 1), recall@1 {right / len(asked):.3f}, "
            f"first search {first * 1e3:.0f} ms"
        )
        store.close()


def wait_for_graph(store: SemanticBackend, data: bytes) -> None:
    """Until the thread that some stores have has built the graph over a large partition."""
    store.nearest(*place_of(0), data, 1)
    if isinstance(store, LocalSemanticBackend):
        store._graphs.wait(600)


if __name__ == "__main__":
    main()
