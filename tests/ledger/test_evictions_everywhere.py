"""An eviction in one process reaches the memory of the others, and what is still on its way."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.processes import Process, Site, ending, sqlite_site
from tests.servers import postgres

SERVE = """
from llmcache import maintenance
from llmcache.exceptions import NotCached
from llmcache.models import Entry
from llmcache.upstreams import upstreams
from django.db import transaction

if %(own)r:
    llmcache.cache = llmcache.Cache(type="local")
flush = recorder.flush
ask("anything")  # a process has no thread before its first call

def there(text, model="m", **cache):
    try:
        ask(text, model, **cache, **{"only-if-cached": True})
    except NotCached:
        return False
    return True

def evict(**criterion):
    if "clear" in criterion:
        alias = Entry.objects.first().alias
        return maintenance.clear(alias).failed
    if "text" in criterion:
        recorder.flush()
        criterion = {"digest": Entry.objects.filter(preview=criterion["text"])[0].digest}
    return maintenance.evict(**criterion).failed

under_way, gate = threading.Event(), threading.Event()

def late(request):
    under_way.set()
    gate.wait()
    return "late"

def begin_to_ask(*arguments, **cache):
    global asking
    under_way.clear(), gate.clear()
    upstreams["default"].responses = late
    asking = threading.Thread(target=ask, args=arguments, kwargs=cache)
    asking.start()
    under_way.wait()

def end_asking():
    gate.set()
    asking.join()
    upstreams["default"].responses = {}

def begin():
    global block
    block = transaction.atomic()
    block.__enter__()

def end(undone):
    transaction.set_rollback(undone)
    block.__exit__(None, None, None)

while (line := heard()) != "end":
    name, arguments, given = json.loads(line)
    say(globals()[name](*arguments, **given))
"""
CRITERIA: dict[str, dict[str, Any]] = {
    "tag": {"tags": ["t"]},
    "namespace": {"namespace": "shop"},
    "scope": {"scope": "ann"},
    "model": {"model": "other"},
    "text": {},
    "clear": {},
}


class Peer:
    """A process of the site's that does what it is told."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **given: Any) -> Any:
            self.process.tell(json.dumps([name, arguments, given]))
            return self.process.hear()

        return call

    def until_gone(self, text: str, **cache: Any) -> None:
        """Return once the entry is not served any more."""
        end = time.monotonic() + 30
        while self.there(text, **cache):
            assert time.monotonic() < end, "it is still served"
            time.sleep(0.02)


def peers_of(site: Site, number: int, *, own: bool = False) -> Iterator[list[Peer]]:
    with ExitStack() as stack:
        processes = [site.start(SERVE % {"own": own}) for _ in range(number)]
        stack.enter_context(ending(*processes))
        yield [Peer(process) for process in processes]
        for process in processes:
            process.tell("end")
            process.end()


def stores_of(kind: str, request: pytest.FixtureRequest, directory: Path) -> dict[str, Any]:
    """LLMCACHE of a site whose processes each have a memory of their own."""
    memory = {"BACKEND": "llmcache.backends.memory.MemoryBackend"}
    if kind in ("memory", "a program's own"):
        return {"default": memory}
    below: dict[str, Any] = {
        "BACKEND": "llmcache.backends.disk.DiskBackend",
        "LOCATION": str(directory / "answers"),
    }
    if kind == "memory over redis":
        server = request.getfixturevalue("redis_server")
        below = {
            "BACKEND": "llmcache.backends.redis.RedisBackend",
            "LOCATION": server.url,
            "KEY_PREFIX": uuid.uuid4().hex,
        }
    layered = {
        "BACKEND": "llmcache.backends.layered.LayeredBackend",
        "OPTIONS": {"layers": ["near", "far"]},
    }
    return {"default": layered, "near": memory, "far": below}


@pytest.fixture(
    scope="module", params=["memory", "memory over disk", "memory over redis", "a program's own"]
)
def peers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Peer]]:
    """Three processes with one database, each with a memory of its own."""
    directory = tmp_path_factory.mktemp("peers")
    site = sqlite_site(
        directory,
        stores=stores_of(request.param, request, directory),
        config={"FLUSH_INTERVAL": 0.05, "BACKEND_TIMEOUT": 5},
    )
    site.databases["default"]["OPTIONS"] = {"timeout": 20}
    yield from peers_of(site, 3, own=request.param == "a program's own")


@pytest.mark.parametrize("criterion", CRITERIA)
def test_what_one_process_evicts_all_processes_miss(peers: list[Peer], criterion: str) -> None:
    # Texts of its own: a part of an eviction may be read after what another test asks.
    one, bystander, cache = f"one {criterion}", f"bystander {criterion}", CRITERIA[criterion]
    for peer in peers:
        peer.ask(one, **cache)
        peer.ask(bystander)
        assert peer.there(one, **cache) and peer.there(bystander)
        peer.flush()
    value = {"tag": "t", "text": one}.get(criterion, cache.get(criterion, ""))
    assert peers[0].evict(**{criterion: value}) == 0
    assert not peers[0].there(one, **cache)
    for peer in peers:
        peer.until_gone(one, **cache)
        assert peer.there(bystander) == (criterion != "clear")


def test_an_answer_on_its_way_when_its_tag_was_evicted_is_gone_when_it_arrives(
    peers: list[Peer],
) -> None:
    one, two, _ = peers
    two.begin_to_ask("late", tags=["t"])
    assert one.evict(tag="t") == 0
    two.end_asking()
    for peer in peers:
        peer.until_gone("late")
    two.flush()
    two.ask("late", tags=["t"])
    two.flush()
    assert two.there("late")  # asked for after the eviction, so it may stay


@pytest.fixture
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[list[Peer]]:
    """Two processes, each with a memory over a shared disk, on a database with many writers."""
    with postgres.fresh(request.getfixturevalue("postgres")) as database:
        site = Site(
            {"default": database},
            {
                "stores": stores_of("memory over disk", request, tmp_path),
                "config": {"FLUSH_INTERVAL": 0.05},
            },
        )
        site.migrate()
        yield from peers_of(site, 2)


def test_an_eviction_reaches_others_when_its_transaction_is_committed(pair: list[Peer]) -> None:
    one, two = pair
    two.ask("one", tags=["t"])
    two.flush()
    one.begin()
    one.evict(tag="t")
    assert two.there("one")  # from its memory: what is not committed has not happened
    assert not one.there("one")
    one.end(False)
    two.until_gone("one")


def test_what_was_asked_and_answered_within_the_transaction_goes_at_its_commit(
    pair: list[Peer],
) -> None:
    one, two = pair
    one.begin()
    one.evict(tag="t")
    two.ask("one", tags=["t"])
    two.flush()
    two.begin_to_ask("two", tags=["t"])
    one.end(False)
    two.end_asking()
    for peer in pair:
        peer.until_gone("one")
        peer.until_gone("two")


def test_an_eviction_that_is_taken_back_takes_nothing_from_others(pair: list[Peer]) -> None:
    one, two = pair
    two.ask("one", tags=["t"])
    two.ask("two", tags=["u"])
    two.flush()
    one.begin()
    one.evict(tag="t")
    one.end(True)
    one.evict(tag="u")
    two.until_gone("two")  # so it has read the log since
    assert two.there("one")
