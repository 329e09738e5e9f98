"""Calls in processes that fork, and among greenlets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

SITE = """
    import json, os, sys, threading, time
    from concurrent.futures import ThreadPoolExecutor
    from django.conf import settings

    PROVIDER = {{"BACKEND": "llmcache.upstreams.fake.FakeUpstream", "OPTIONS": {{"latency": 0.3}}}}
    settings.configure(
        SECRET_KEY="x",
        USE_TZ=True,
        INSTALLED_APPS=["llmcache"],
        LLMCACHE={{"default": {store}}},
        LLMCACHE_CONFIG={{"BACKEND_TIMEOUT": 10, "SINGLE_FLIGHT_LEASE": 60}},
        LLMCACHE_PROVIDERS={{"default": PROVIDER}},
    )
    import django
    django.setup()
    import llmcache
    from llmcache import caching, claims, fetching
    from llmcache.upstreams import upstreams

    def ask(text, stream=False):
        messages = [{{"role": "user", "content": text}}]
        response = llmcache.completion("m", messages=messages, stream=stream)
        if stream:
            chunks = list(response)
            said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        else:
            said = response.choices[0].message.content
        assert text in said
        return response.cache.outcome
"""


@pytest.fixture(params=["memory", "redis", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    if request.param == "memory":
        return {"BACKEND": "llmcache.backends.memory.MemoryBackend"}
    if request.param == "disk":
        place = str(tmp_path / "entries")
        return {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": place}
    return {
        "BACKEND": "llmcache.backends.redis.RedisBackend",
        "LOCATION": request.getfixturevalue("redis_server").url,
        "KEY_PREFIX": str(tmp_path),
    }


def run(directory: Path, store: dict[str, Any], program: str, before: str = "") -> Any:
    """What the program prints last, as JSON."""
    file = directory / "program.py"
    code = "\n".join(textwrap.dedent(part) for part in (before, SITE.format(store=store), program))
    file.write_text(code)
    done = subprocess.run(
        [sys.executable, str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


FORK = """
    ask("known")
    leader = threading.Thread(target=ask, args=("under way",))
    leader.start()
    while not (fetching.flights._flights and upstreams["default"].call_count == 2):
        time.sleep(0.005)
    key = llmcache.explain_key("m", messages=[{"role": "user", "content": "under way"}])["digest"]
    backend = caching.for_alias("default").backend
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        kept = len(claims._keeper._claims), len(fetching.flights._flights)
        outcomes = [ask("known"), ask("under way"), ask("of the child"), ask("of the child")]
        os.write(writer, json.dumps([kept, outcomes]).encode())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    leader.join()
    kept, outcomes = json.loads(os.read(reader, 10_000))
    mine = [ask("known"), ask("under way"), ask("of the parent"), ask("of the parent")]
    left = len(claims._keeper._claims), len(fetching.flights._flights)
    print(json.dumps([status, kept, outcomes, mine, left]))
"""


def test_a_child_forked_while_a_call_is_under_way_goes_its_own_way(
    store: dict[str, Any], tmp_path: Path
) -> None:
    status, kept, outcomes, mine, left = run(tmp_path, store, FORK)
    assert status == 0
    assert kept == [0, 0]  # neither claims nor flights are the child's
    assert outcomes[0] == "hit"
    assert outcomes[1] in ("miss", "coalesced", "hit")  # a store in memory is its own
    assert outcomes[2:] == ["miss", "hit"]
    assert mine == ["hit", "hit", "miss", "hit"]
    assert left == [0, 0]


CHILDREN = """
    import multiprocessing

    def child(queue):
        queue.put([ask("known"), ask("of the child"), ask("of the child")])

    if __name__ == "__main__":
        ask("known")
        context = multiprocessing.get_context("%s")
        queue = context.Queue()
        started = context.Process(target=child, args=(queue,))
        started.start()
        said = queue.get(timeout=30)
        started.join(30)
        print(json.dumps([said, started.exitcode, ask("known")]))
"""


@pytest.mark.parametrize("by", ["fork", "forkserver", "spawn"])
def test_a_child_of_multiprocessing_works_and_ends(
    store: dict[str, Any], by: str, tmp_path: Path
) -> None:
    has_its_own = "memory" in store["BACKEND"] and by != "fork"
    known = "miss" if has_its_own else "hit"
    assert run(tmp_path, store, CHILDREN % by) == [[known, "miss", "hit"], 0, "hit"]


GREENLETS = """
    import gevent
    upstream = upstreams["default"]
    counts = []
    for stream in (False, True):
        for text in ("hello", "again"):
            before = upstream.call_count
            text = f"{text} {stream}"
            asked = [gevent.spawn(ask, text, stream) for _ in range(100)]
            gevent.joinall(asked, timeout=30, raise_error=True)
            assert all(one.successful() for one in asked)
            counts.append(upstream.call_count - before)
    print(json.dumps([counts, ask("hello False"), ask("hello True")]))
"""


def test_a_hundred_greenlets_make_one_call(store: dict[str, Any], tmp_path: Path) -> None:
    patched = "from gevent import monkey\nmonkey.patch_all()"
    assert run(tmp_path, store, GREENLETS, patched) == [[1, 1, 1, 1], "hit", "hit"]
