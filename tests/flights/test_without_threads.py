"""A process that gets no further thread: calls are answered, stored and recorded all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.ledger.processes import Site, sqlite_site

CALLS = """
import asyncio

ASK = {"model": "m", "messages": [{"role": "user", "content": "sync"}]}
AASK = {"model": "m", "messages": [{"role": "user", "content": "async"}]}

def read(stream):
    return "".join(part.choices[0].delta.content or "" for part in stream)

async def aread(stream):
    return "".join([part.choices[0].delta.content or "" async for part in stream])

def served(answer):
    return "served" if answer.cache.outcome in ("hit", "coalesced") else answer.cache.outcome

def outcomes():
    for _ in range(2):
        yield served(llmcache.completion(**ASK))
    for _ in range(2):
        stream = llmcache.completion(**ASK, stream=True, cache={"namespace": "streams"})
        read(stream)
        yield served(stream)

async def aoutcomes():
    for _ in range(2):
        yield served(await llmcache.acompletion(**AASK))
    for _ in range(2):
        stream = await llmcache.acompletion(**AASK, stream=True, cache={"namespace": "streams"})
        await aread(stream)
        yield served(stream)
"""
REFUSED = """
async def alist():
    return [outcome async for outcome in aoutcomes()]

start = threading.Thread.start

def refuse(thread):
    # That which reads the disk for tasks stands for one that was started in time.
    if thread.name.startswith("llmcache-") and "store" not in thread.name:
        raise RuntimeError("can't start new thread")
    start(thread)

threading.Thread.start = refuse
say([list(outcomes()), asyncio.run(alist()), events.counts().get("thread_error", 0) > 0])
"""
AT_EXIT = """
import atexit
atexit.register(lambda: say(list(outcomes())))
"""


@pytest.fixture(params=["here", "thread"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """A site whose claims, entries and records each have a thread in a usual process."""
    store = {
        "BACKEND": "llmcache.backends.disk.DiskBackend",
        "LOCATION": str(tmp_path / "entries"),
    }
    config: dict[str, Any] = {"BACKEND_TIMEOUT": 10}
    if request.param == "thread":
        config["WRITER"] = "thread"
    return sqlite_site(tmp_path, stores={"default": store}, config=config)


def test_calls_are_answered_stored_and_recorded(site: Site) -> None:
    assert site.run(CALLS + REFUSED) == [["miss", "served"] * 2, ["miss", "served"] * 2, True]
    counts = site.counts()
    assert (counts["calls"], counts["entries"], counts["lost"]) == (8, 4, 0)


def test_calls_while_the_interpreter_ends_are_too(site: Site) -> None:
    assert site.run(CALLS + AT_EXIT) == ["miss", "served"] * 2
    counts = site.counts()
    assert (counts["calls"], counts["entries"], counts["lost"]) == (4, 2, 0)
