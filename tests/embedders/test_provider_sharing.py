"""Vectors from a provider's endpoint: what is kept of them, and what many get who ask at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
from django.test import override_settings

import llmcache
from llmcache import backends
from llmcache.backends.base import BaseBackend
from llmcache.envelope import seal
from llmcache.exceptions import UpstreamError
from tests.embedders.conftest import Embed, gated, make, numbers, vectors
from tests.servers.provider import Provider, refusal


class Interrupted(BaseException):
    """What a caller's surroundings raise in it."""


def sealed(digest: str, payload: bytes, expires: float) -> bytes:
    return seal(digest, payload, created=1.0, expires=expires, stale_until=expires, header={})


KEPT: list[Callable[[str], bytes]] = [
    lambda digest: sealed(digest, orjson.dumps({"embedding": [4.0, 3.0]}), time.time() - 1),
    lambda digest: sealed("0" * 64, orjson.dumps({"embedding": [4.0, 3.0]}), time.time() + 60),
    lambda digest: sealed(digest, orjson.dumps({"embedding": []}), time.time() + 60),
    lambda digest: sealed(digest, orjson.dumps([1]), time.time() + 60),
    lambda digest: sealed(digest, b"{", time.time() + 60),
    lambda digest: b"damaged",
]


@pytest.mark.parametrize(
    "kept", KEPT, ids=["over", "another's", "no vector", "no entry", "no JSON", "damaged"]
)
def test_what_is_kept_and_cannot_be_used_is_asked_for_anew(
    embed: Embed,
    site: BaseBackend,
    provider: Provider,
    kept: Callable[[str], bytes],
) -> None:
    digest = str(llmcache.embedding("text-embedding-3-small", input="hello").cache.key)
    site.set(digest, kept(digest), None)
    assert numbers(embed(make(site), "hello")) == pytest.approx([0.6, 0.8])
    assert len(provider.requests) == 2
    assert numbers(embed(make(site), "hello")) == pytest.approx([0.6, 0.8])
    assert len(provider.requests) == 2  # the new one has taken its place


def test_a_store_that_keeps_nothing_is_not_written_to(
    embed: Embed,
    site: BaseBackend,
    provider: Provider,
    settings: Any,
) -> None:
    store = {**settings.LLMCACHE["default"], "TIMEOUT": 0}
    with override_settings(LLMCACHE={"default": store}):
        embedder = make(backends.stores["default"])
        assert numbers(embed(embedder, "hello")) == pytest.approx([0.6, 0.8])
        assert list(backends.stores["default"].iterate()) == []
        embed(embedder, "hello")  # the process has it in its memory all the same
    assert len(provider.requests) == 1


def at_once(ask: Callable[[], Any], number: int, gate: Callable[[], object]) -> list[Any]:
    """What so many threads get; errors are returned. The gate is opened when all ask."""
    start = threading.Barrier(number + 1)

    def one(_: int) -> Any:
        start.wait()
        try:
            return ask()
        except BaseException as error:
            return error

    with ThreadPoolExecutor(number) as pool:
        found = [pool.submit(one, each) for each in range(number)]
        start.wait()
        threading.Timer(0.3, gate).start()
        return [each.result() for each in found]


def test_a_failure_is_the_failure_of_all_threads_that_waited_for_it(
    site: BaseBackend,
    provider: Provider,
) -> None:
    behaviour, gate = gated(refusal(500))
    provider.script(behaviour)
    embedder = make(site, timeout=30)
    errors = at_once(lambda: embedder.embed("hello"), 4, gate.set)
    assert all(isinstance(error, UpstreamError) and error.status == 500 for error in errors)
    assert len(set(map(id, errors))) == 4
    assert len(provider.requests) == 1


def test_when_the_thread_that_asks_is_interrupted_another_takes_over(
    site: BaseBackend,
    provider: Provider,
) -> None:
    gate, reads = threading.Event(), []

    class Interrupting(BaseBackend):
        def get(self, digest: str) -> bytes | None:
            reads.append(digest)
            if len(reads) == 1:
                gate.wait(20)
                raise Interrupted
            return None

        def set(self, digest: str, data: bytes, ttl: float | None) -> None:
            pass

    embedder = make(Interrupting(site.settings), timeout=30)
    found = at_once(lambda: embedder.embed("hello"), 4, gate.set)
    assert sum(isinstance(each, Interrupted) for each in found) == 1
    served = [numbers(each) for each in found if not isinstance(each, Interrupted)]
    assert served == [pytest.approx([0.6, 0.8])] * 3
    assert len(provider.requests) == 1


def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent(
    site: BaseBackend,
    provider: Provider,
) -> None:
    behaviour, gate = gated(vectors([3.0, 4.0]))
    provider.script(behaviour, vectors([4.0, 3.0]))
    embedder = make(site, timeout=60)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(embedder.embed, "hello")
        while not provider.requests:
            time.sleep(0.01)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            right = False
            try:
                right = numbers(embedder.embed("hello")) == pytest.approx([0.8, 0.6])
            finally:
                os._exit(0 if right else 1)
        ended = os.waitpid(child, 0)[1]
        gate.set()
        assert ended == 0
        assert numbers(asked.result(60)) == pytest.approx([0.6, 0.8])
