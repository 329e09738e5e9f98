"""An eviction reaches every process: three real ones, each with copies in its own memory."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.processes import Process, Site, ending, sqlite_site

SERVES = """
from llmcache import NotCached
from llmcache.models import Entry

def look(text, using):
    messages = [{"role": "user", "content": text}]
    try:
        cache = {"only-if-cached": True, "namespace": "n-" + text, "scope": "s-" + text}
        llmcache.completion("m-" + text, messages=messages, cache=cache, using=using)
    except NotCached:
        return "gone"
    return "there"

def make(text, using):
    messages = [{"role": "user", "content": text}]
    cache = {"tags": ["t-" + text], "namespace": "n-" + text, "scope": "s-" + text}
    answer = llmcache.completion("m-" + text, messages=messages, cache=cache, using=using)
    recorder.flush()
    return answer.cache.key

def evict(**criterion):
    return llmcache.evict(**criterion).removed

def clear(alias):
    from llmcache import maintenance
    return maintenance.clear(alias).removed

for line in sys.stdin:
    name, values, named = json.loads(line)
    say(globals()[name](*values, **named))
"""
PATIENCE = 20  # seconds; FLUSH_INTERVAL is a tenth of one


class Server:
    """A process that serves one request after the other."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def __call__(self, name: str, *values: Any, **named: Any) -> Any:
        self.process.tell(json.dumps([name, values, named]))
        return self.process.hear()


@pytest.fixture(params=["memory", "tiered"])
def alias(request: pytest.FixtureRequest) -> str:
    """A store in each process's own memory; and one whose upper layer is that."""
    found: str = request.param
    return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    memory = {"BACKEND": "llmcache.backends.memory.MemoryBackend"}
    stores = {
        "default": memory,
        "memory": memory,
        "upper": memory,
        "disk": {
            "BACKEND": "llmcache.backends.disk.DiskBackend",
            "LOCATION": str(tmp_path / "disk"),
        },
        "tiered": {
            "BACKEND": "llmcache.backends.layered.LayeredBackend",
            # Without a limit: only an eviction takes a copy out of the upper layer.
            "OPTIONS": {"layers": ["upper", "disk"], "local_ttl": None},
        },
    }
    return sqlite_site(tmp_path, stores=stores)


@pytest.fixture
def servers(site: Site) -> Iterator[list[Server]]:
    """Three processes."""
    processes = [site.start(SERVES) for _ in range(3)]
    with ending(*processes):
        yield [Server(process) for process in processes]


def everywhere(servers: list[Server], text: str, alias: str) -> set[str]:
    return {server("look", text, alias) for server in servers}


def wait_until_gone(servers: list[Server], text: str, alias: str) -> None:
    end = time.monotonic() + PATIENCE
    while everywhere(servers, text, alias) != {"gone"}:
        assert time.monotonic() < end, "some process still has it"
        time.sleep(0.05)


@pytest.mark.parametrize("criterion", ["digest", "tag", "namespace", "scope", "model"])
def test_an_eviction_reaches_the_memory_of_every_process_and_takes_nothing_else(
    servers: list[Server], alias: str, criterion: str
) -> None:
    for server in servers:
        digest = server("make", "one", alias)
        server("make", "other", alias)
    assert everywhere(servers, "one", alias) == {"there"}
    value = digest if criterion == "digest" else f"{criterion[0]}-one"
    servers[0]("evict", **{criterion: value})
    assert servers[0]("look", "one", alias) == "gone"
    wait_until_gone(servers, "one", alias)
    assert everywhere(servers, "other", alias) == {"there"}


def test_a_cleared_store_is_empty_in_every_process(servers: list[Server], alias: str) -> None:
    for server in servers:
        server("make", "one", alias)
    servers[1]("clear", alias)
    wait_until_gone(servers, "one", alias)


def test_what_is_stored_after_the_eviction_stays(servers: list[Server], alias: str) -> None:
    for server in servers:
        server("make", "one", alias)
    servers[2]("evict", tag="t-one")
    wait_until_gone(servers, "one", alias)
    for server in servers:
        server("make", "one", alias)
    time.sleep(0.5)  # some rounds of the flusher
    assert everywhere(servers, "one", alias) == {"there"}


def test_an_answer_under_way_when_its_tag_is_evicted_is_gone_after_it_arrives(
    site: Site, servers: list[Server]
) -> None:
    slow = site.start(
        """
        from llmcache.upstreams import upstreams
        fake = upstreams["default"]
        answer = fake.call
        def slowly(request):
            say("asked")
            heard()
            return answer(request)
        fake.call = slowly
        messages = [{"role": "user", "content": "one"}]
        cache = {"tags": ["t-one"], "namespace": "n-one", "scope": "s-one"}
        llmcache.completion("m-one", messages=messages, cache=cache, using="tiered")
        say("stored")
        heard()
        """
    )
    with ending(slow):
        assert slow.hear() == "asked"
        servers[0]("evict", tag="t-one")
        slow.tell()
        assert slow.hear() == "stored"
        wait_until_gone(servers, "one", "tiered")
