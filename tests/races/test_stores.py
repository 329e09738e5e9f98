"""Changes that meet in a store: whoever reads sees one of them whole, and what was evicted is
gone."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.test import override_settings

import llmcache
from llmcache import afetching, fetching, recorder
from llmcache.backends.base import BaseBackend, Item
from llmcache.upstreams import upstreams
from tests.backends import stores
from tests.backends.conftest import DATABASE
from tests.security.test_put_back import STORES

# PostgreSQL's tables are a second database's, which other threads cannot see in a test.
KINDS = sorted(set(stores.FACTORIES) - {"database-postgres"})
A, B = (sha256(name).hexdigest() for name in (b"a", b"b"))
SIZE = 30_000


@pytest.fixture(
    params=[pytest.param(name, marks=DATABASE if name == "database" else ()) for name in KINDS]
)
def backend(request: pytest.FixtureRequest, settings: Any) -> Iterator[BaseBackend]:
    """Every store."""
    settings.LLMCACHE_CONFIG = {"BACKEND_TIMEOUT": 20.0}
    made = stores.FACTORIES[request.param](request)()
    yield made
    made.close()


def value(letter: str) -> bytes:
    return letter.encode() * SIZE


def is_whole(data: bytes | None) -> bool:
    return data is None or (len(data) == SIZE and len(set(data)) == 1)


def together(*steps: Callable[[], object], times: int) -> None:
    """Each step in a thread of its own, so often; all of them start at once. The first error is
    raised.
    """
    barrier = threading.Barrier(len(steps))

    def run(step: Callable[[], object]) -> None:
        try:
            for _ in range(times):
                barrier.wait(30)
                step()
        except BaseException:
            barrier.abort()
            raise
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(steps)) as pool:
        running = [pool.submit(run, step) for step in steps]
    errors = [error for one in running if (error := one.exception()) is not None]
    if errors:
        raise next(
            (e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0]
        )


def test_readers_see_one_of_two_writers_whole(backend: BaseBackend) -> None:
    seen: list[bytes | None] = []
    together(
        lambda: backend.set(A, value("x"), 60),
        lambda: backend.set_many([Item(A, value("y"), 60), Item(B, value("y"), 60)]),
        lambda: seen.append(backend.get(A)),
        lambda: seen.extend(backend.get_many([A, B]).values()),
        times=8,
    )
    assert all(map(is_whole, seen))
    assert is_whole(backend.get(A)) and backend.get(A) is not None


def test_a_delete_that_meets_a_set_leaves_all_or_nothing(backend: BaseBackend) -> None:
    seen: list[bytes | None] = []
    together(
        lambda: backend.set(A, value("x"), 60),
        lambda: backend.delete(A),
        lambda: seen.append(backend.get(A)),
        times=8,
    )
    assert all(map(is_whole, seen))
    backend.delete(A)
    assert backend.get(A) is None


def test_a_clear_that_meets_a_set_leaves_all_or_nothing(backend: BaseBackend) -> None:
    if not backend.supports_clear:
        with pytest.raises(Exception, match="clear"):
            backend.clear()
        return
    seen: list[bytes | None] = []
    together(
        lambda: backend.set_many([Item(A, value("x"), 60), Item(B, value("x"), 60)]),
        backend.clear,
        lambda: seen.append(backend.get(B)),
        times=6,
    )
    assert all(map(is_whole, seen))
    backend.clear()
    assert (backend.get(A), backend.get(B)) == (None, None)


def test_whatever_meets_nothing_is_torn_and_the_last_word_holds(backend: BaseBackend) -> None:
    rolls = random.Random(1)
    torn: list[bytes | None] = []

    def step() -> None:
        digest, letter = rolls.choice((A, B)), rolls.choice("xyz")
        way = rolls.randrange(6)
        if way == 0:
            backend.delete(digest)
        elif way == 1:
            backend.touch(digest, 60)
        elif way == 2:
            backend.replace(digest, value("x"), value(letter), 60)
        elif way == 3:
            backend.delete_many([A, B])
        elif way == 4:
            backend.set(digest, value(letter), 60)
        found = backend.get(digest)
        if not is_whole(found):
            torn.append(found)

    together(step, step, step, times=10)
    assert torn == []
    backend.set(A, value("w"), 60)
    assert backend.get(A) == value("w")


# --- evictions and renewals ---


@pytest.fixture(params=sorted(STORES))
def site(request: pytest.FixtureRequest, tmp_path: Path, transactional_db: None) -> Any:
    store = STORES[request.param](request, tmp_path / "place")
    config = {"BACKEND_TIMEOUT": 20.0, "SCOPE": lambda: "a"}
    with override_settings(LLMCACHE={"default": store}, LLMCACHE_CONFIG=config):
        yield


def ask(door: Any, **cache: Any) -> Any:
    return door.completion("m", messages=[{"role": "user", "content": "hello"}], cache=cache)


def test_a_renewal_that_meets_an_eviction_does_not_bring_the_answer_back(
    door: Any, site: None
) -> None:
    renewing = {"stale-while-revalidate": 600}
    first = ask(door, ttl=0.05, **renewing)
    recorder.flush()
    time.sleep(0.1)
    upstream: Any = upstreams["default"]
    upstream.latency = 0.3
    stale = ask(door, **renewing)
    assert (stale.cache.outcome, stale.id) == ("stale", first.id)
    door.sleep(0.05)
    llmcache.evict(digest=first.cache.key)  # while the provider makes the new answer
    deadline = time.monotonic() + 20
    while len(upstream.calls) < 2 or under_way():
        assert time.monotonic() < deadline
        door.sleep(0.02)
    upstream.latency = 0.0
    again = ask(door)
    assert again.cache.outcome == "miss"
    assert ask(door).id == again.id


def under_way() -> list[Any]:
    tasks = [place for flights in afetching.flights._loops.values() for place in flights]
    return [*fetching.flights._flights, *tasks]
