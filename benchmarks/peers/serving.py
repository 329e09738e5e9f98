"""What every peer's script shares: it reads jobs from standard input, a line of JSON each, and
answers each with a line of JSON. Run by the peer's own Python, so the standard library alone.

A job: {"path": "hit", "name": who asks, "store": {"type": "memory", ...}, "base_url": the
provider's, "asked": a completion's arguments, "answer": the right text, "times": calls}
An answer: {"seconds": of one call}, or {"missing": the reason why there is none}.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
import traceback
import uuid
from array import array
from collections.abc import Awaitable, Callable, Iterable, Iterator
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any

CALLERS = 100

Asked = dict[str, Any]
Job = dict[str, Any]


class NoPath(Exception):
    """The peer has no such path; the text says why."""


class Peer:
    """A peer over one store. A peer overrides what it can do.

    Args:
        job: the first job that names this store.

    Attributes:
        packages: whose versions are told.
        stores: the types of store that it has.
        reasons: why it lacks a path or a type of store.
        notes: what a reader of the table must know, by type of store; "" for all.
        asked: the vectors to search for, once there are any.
    """

    packages: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    reasons: dict[str, str] = {}
    notes: dict[str, str] = {}
    asked: Iterator[list[float]]

    def __init__(self, job: Job) -> None:
        self.job = job

    @property
    def directory(self) -> str:
        """Of its own, for stores on disk."""
        path = Path(self.job["store"]["directory"], self.job["name"].replace(" ", "-"))
        path.mkdir(parents=True, exist_ok=True)
        return str(path)

    def ask(self, asked: Asked) -> str:
        """The answer's text, through the cache."""
        raise NoPath("it has no sync calls")

    async def aask(self, asked: Asked) -> str:
        """As `ask`."""
        raise NoPath("it has no async calls")

    def stream(self, asked: Asked) -> Iterator[str]:
        """The answer's pieces, through the cache."""
        raise NoPath("it keeps no streams")

    def add(self, vectors: list[list[float]], answer: str) -> None:
        """Keep an answer to each of these questions, of which only the vectors matter."""
        raise NoPath("it does not match by vectors")

    def nearest(self, vector: list[float]) -> str:
        """The answer to the nearest question."""
        raise NoPath("it does not match by vectors")


# --- the paths ---


def hit(peer: Peer, job: Job) -> float:
    """One call after the other, all answered before."""
    right(job, peer.ask(job["asked"]))
    seconds = each(lambda: peer.ask(job["asked"]), job["times"])
    right(job, peer.ask(job["asked"]))
    return seconds


def concurrent_hits(peer: Peer, job: Job) -> float:
    """CALLERS tasks of one event loop."""
    right(job, LOOP.run(peer.aask(job["asked"])))
    return LOOP.run(at_once(lambda: peer.aask(job["asked"]), job["times"]))


def replay(peer: Peer, job: Job) -> float:
    """A recorded stream, whole."""
    right(job, "".join(peer.stream(job["asked"])))
    seconds = each(lambda: list(peer.stream(job["asked"])), job["times"])
    right(job, "".join(peer.stream(job["asked"])))
    return seconds


def first_chunk(peer: Peer, job: Job) -> float:
    """A recorded stream up to its first text; it is left there."""
    right(job, "".join(peer.stream(job["asked"])))

    def first() -> None:
        stream = peer.stream(job["asked"])
        next(stream)
        stream.close()  # type: ignore[attr-defined]

    return each(first, job["times"])


def miss(peer: Peer, job: Job) -> float:
    """One call after the other, none asked before."""

    def ask() -> None:
        message = job["asked"]["messages"][-1]
        fresh = {**message, "content": f"{uuid.uuid4().hex} {message['content']}"}
        right(job, peer.ask({**job["asked"], "messages": [*job["asked"]["messages"][:-1], fresh]}))

    return each(ask, job["times"])


def misses_in_threads(peer: Peer, job: Job) -> float:
    """The same new question in `callers` threads at once: seconds until all are answered."""
    texts: list[str | BaseException] = []
    go = threading.Event()

    def ask() -> None:
        go.wait()
        try:
            texts.append(peer.ask(job["asked"]))
        except BaseException as error:
            texts.append(error)

    threads = [threading.Thread(target=ask) for _ in range(job["callers"])]
    for thread in threads:
        thread.start()
    started = wait_for_start(job)
    go.set()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - started
    right(job, *texts)
    return seconds


def misses_in_tasks(peer: Peer, job: Job) -> float:
    """As `misses_in_threads`, in tasks of one event loop."""

    async def ask() -> float:
        started = wait_for_start(job)
        tasks = [peer.aask(job["asked"]) for _ in range(job["callers"])]
        texts = await asyncio.gather(*tasks, return_exceptions=True)
        seconds = time.monotonic() - started
        right(job, *texts)
        return seconds

    return LOOP.run(ask())


def semantic_hit(peer: Peer, job: Job) -> float:
    """A search with its vector given, among the stored ones."""
    if not hasattr(peer, "asked"):
        store = job["store"]
        peer.add(read_vectors(store["stored"], store["dimensions"]), job["answer"])
        time.sleep(1)  # the server indexes in the background
        peer.asked = cycle(read_vectors(store["searched"], store["dimensions"]))
    right(job, peer.nearest(next(peer.asked)))
    return each(lambda: peer.nearest(next(peer.asked)), job["times"])


def read_vectors(path: str, dimensions: int) -> list[list[float]]:
    """Of a file of float32s."""
    numbers = array("f")
    numbers.frombytes(Path(path).read_bytes())
    starts = range(0, len(numbers), dimensions)
    return [numbers[start : start + dimensions].tolist() for start in starts]


PATHS: dict[str, Callable[[Peer, Job], float]] = {
    "hit": hit,
    "concurrent hits": concurrent_hits,
    "replay": replay,
    "first chunk": first_chunk,
    "miss": miss,
    "misses in threads": misses_in_threads,
    "misses in tasks": misses_in_tasks,
    "semantic hit": semantic_hit,
}

LACKS = {
    "memory": "it has no cache in memory",
    "redis": "it has no cache in Redis",
    "disk": "it has no cache on disk",
    "s3": "it has no cache in S3",
    "semantic": "it does not match by vectors",
}


# --- timing ---


class Loop:
    """One event loop for all jobs, so that connections live as long as on a site."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def run(self, made: Any) -> Any:
        return self._runner.run(made)

    def close(self) -> None:
        self._runner.close()


LOOP = Loop()


def each(function: Callable[[], object], times: int) -> float:
    """Seconds of one call, without the garbage collector's pauses."""
    gc.disable()
    try:
        started = time.perf_counter()
        for _ in range(times):
            function()
        return (time.perf_counter() - started) / times
    finally:
        gc.enable()


async def at_once(function: Callable[[], Awaitable[object]], times: int) -> float:
    """Seconds for each of some calls, made by CALLERS tasks that run at once."""
    turns = max(1, times // CALLERS)

    async def caller() -> None:
        for _ in range(turns):
            await function()

    gc.disable()
    try:
        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        return (time.perf_counter() - started) / (turns * CALLERS)
    finally:
        gc.enable()


def wait_for_start(job: Job) -> float:
    """Several processes start together: at this time of the machine's monotonic clock."""
    time.sleep(max(0.0, job.get("start", 0.0) - time.monotonic()))
    return time.monotonic()


def right(job: Job, *texts: str | BaseException) -> None:
    """A wrong answer is no answer."""
    for text in texts:
        if isinstance(text, BaseException):
            raise text
        if text != job["answer"]:
            raise AssertionError(f"a wrong answer: {text[:80]!r}")


# --- the conversation ---


def serve(kind: type[Peer], lines: Iterable[str] = sys.stdin) -> None:
    """Answer jobs until standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # packages print
    peers: dict[str, Peer] = {}
    for line in lines:
        answers.write(json.dumps(answer(kind, peers, json.loads(line))) + "\n")
        answers.flush()


def answer(kind: type[Peer], peers: dict[str, Peer], job: Job) -> dict[str, Any]:
    """One job's answer."""
    path = job["path"]
    if path == "about":
        return {"versions": {name: version(name) for name in kind.packages}, "notes": kind.notes}
    store = job["store"]["type"]
    try:
        reason = kind.reasons.get(path) or kind.reasons.get(store)
        if reason:
            raise NoPath(reason)
        if store not in kind.stores:
            raise NoPath(LACKS[store])
        key = json.dumps(job["store"])
        if key not in peers:
            peers[key] = kind(job)
        return {"seconds": PATHS[path](peers[key], job)}
    except NoPath as error:
        return {"missing": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"missing": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
