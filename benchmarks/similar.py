"""Hits by meaning on Redis, their vectors given, beside the caches that search the same server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from time import sleep, time
from typing import Any

from django.test import override_settings

import llmcache
from benchmarks import given
from benchmarks.contenders import Bench
from benchmarks.questions import ANSWER
from benchmarks.timing import Row, calling
from llmcache import backends, caching
from llmcache.backends.base import Item
from llmcache.backends.semantic.base import SemanticBackend, Vector
from llmcache.conf import BackendSettings
from tests.servers.redis import RedisServer

BACKEND = "llmcache.backends.semantic.redis.RedisSemanticBackend"
DAY = 86_400.0


def hits(bench: Bench, server: RedisServer) -> Iterator[Row]:
    """Real questions are asked that are near to stored ones: our store's search alone, and our
    whole hit (key, exact look, search, guards, answer), both against RedisVL's
    `SemanticCache.check`, which gives the answer with the search.
    """
    pairs = given.real_pairs(same=True)
    given.make(pairs)
    stored = list(dict.fromkeys(one for one, _ in pairs))
    settings = {
        "BACKEND": BACKEND,
        "LOCATION": server.url,
        "KEY_PREFIX": uuid.uuid4().hex,
        "OPTIONS": {"embedder": "benchmarks.given.Given"},
    }
    with override_settings(LLMCACHE={"default": settings}):
        llmcache.cache = caching.for_alias("default")
        for text in stored:
            ask(text, **{"no-cache": True})
        sleep(1)  # the server indexes in the background
        asked = [other for _, other in pairs if is_similar(ask(other, **{"no-store": True}))]
        where = {
            "type": "semantic",
            "url": server.url,
            "stored": str(write(stored, bench.directory / "stored")),
            "searched": str(write(asked, bench.directory / "searched")),
            "dimensions": len(given.made[stored[0]].data) // 4,
        }
        job = {**bench.job("semantic hit", where, {}), "answer": ANSWER}
        mine, searched = cycle(asked), cycle(asked)
        store = filled(stored, server.url)
        space = given.made[stored[0]].space

        def search() -> None:
            assert store.nearest("p", space, given.made[next(searched)].data, 1)

        def whole() -> str:
            text: str = ask(next(mine), **{"no-store": True}).choices[0].message.content
            return text

        for name, goal, function in (
            (f"semantic search, {len(stored)} stored", "1.0", search),
            ("semantic hit, vector given", "", whole),
        ):
            own = {"ours": calling(function)}
            yield bench.race_hits(name, goal, own, job, base="RedisVL")
        store.close()


def ask(text: str, **controls: Any) -> Any:
    return llmcache.completion("m", messages=[{"role": "user", "content": text}], cache=controls)


def is_similar(response: Any) -> bool:
    """It was answered by another question's answer."""
    return bool(response.cache.hit and response.cache.similarity < 1)


def write(texts: list[str], place: Path) -> Path:
    """A file of the texts' vectors, for the peers to read."""
    place.write_bytes(b"".join(given.made[text].data for text in texts))
    return place


def filled(texts: list[str], url: str) -> SemanticBackend:
    """A store of ours with an answer to each."""
    store = backends.build(BackendSettings(alias="bench", backend=BACKEND, location=url))
    assert isinstance(store, SemanticBackend)
    digests = [sha256(text.encode()).hexdigest() for text in texts]
    store.set_many([Item(digest, ANSWER.encode(), DAY) for digest in digests])
    store.add(
        Vector(
            digest=digest,
            partition="p",
            space=given.made[text].space,
            prompt=text,
            data=given.made[text].data,
            expires=time() + DAY,
        )
        for digest, text in zip(digests, texts, strict=True)
    )
    return store
