"""A caller may go away at every single await of a call, and leaves nothing behind: no claim that
others wait for, no flight, no half entry."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

import llmcache
from llmcache import afetching, caching, claims
from llmcache.upstreams import upstreams
from llmcache.upstreams.fake import FakeUpstream

MOST = 200  # awaits of one call


class CancelledAt:
    """Awaits a coroutine, and cancels the task that does so when it waits for the n-th time.

    Attributes:
        waited: how often it has waited so far.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], number: int) -> None:
        self._coroutine = coroutine
        self._number = number
        self.waited = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        step, given = self._coroutine.send, None
        while True:
            try:
                awaited = step(given)
            except StopIteration as end:
                return end.value
            self.waited += 1
            if self.waited == self._number:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                given, step = (yield awaited), self._coroutine.send
            except BaseException as error:
                given, step = error, self._coroutine.throw  # type: ignore[assignment]


@pytest.fixture(params=["locmem", "redis", "disk"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The settings' store, of several kinds; a claim that is forgotten lasts for the whole test."""
    stores: dict[str, Any] = {}
    if request.param == "disk":
        place = str(tmp_path / "entries")
        stores["default"] = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": place}
    elif request.param == "redis":
        stores["default"] = {
            "BACKEND": "llmcache.backends.redis.RedisBackend",
            "LOCATION": request.getfixturevalue("redis_server").url,
            "KEY_PREFIX": str(tmp_path),
        }
    config = {"BACKEND_TIMEOUT": 5.0, "SINGLE_FLIGHT_LEASE": 60.0, "SINGLE_FLIGHT_TIMEOUT": 20.0}
    with override_settings(LLMCACHE=stores, LLMCACHE_CONFIG=config):
        store = caching.for_alias("default")
        assert store is not None
        yield store.backend


async def completion(text: str) -> Any:
    response = await llmcache.acompletion("m", messages=[{"role": "user", "content": text}])
    return response.choices[0].message.content


async def stream(text: str) -> Any:
    chunks = await llmcache.acompletion(
        "m", messages=[{"role": "user", "content": text}], stream=True
    )
    said = [chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices]
    return "".join(said)


async def embedding(text: str) -> Any:
    """Of two texts, one of which is stored already."""
    response = await llmcache.aembedding("m", input=["a text that is stored", text])
    return [item.embedding for item in response.data]


async def follower(text: str) -> Any:
    """While another caller asks; that one has its answer in any case."""
    leader = asyncio.create_task(completion(text))
    await asyncio.sleep(0)
    try:
        return await completion(text)
    finally:
        assert text in await asyncio.shield(leader)


async def leader(text: str) -> Any:
    """While another caller waits for the answer, who has it in any case."""

    async def follow() -> Any:
        await asyncio.sleep(0)
        return await completion(text)

    waiting = asyncio.create_task(follow())
    try:
        return await completion(text)
    finally:
        assert text in await asyncio.shield(waiting)


CALLS = (completion, stream, embedding, follower, leader)
Call = Callable[[str], Awaitable[Any]]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_a_caller_who_goes_away_at_any_await_leaves_nothing_behind(
    backend: Any, call: Any, upstream: FakeUpstream
) -> None:
    upstream.latency = 0.002
    complaints: list[Any] = []
    with asyncio.Runner(debug=True) as runner:
        runner.get_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        runner.run(embedding("what is stored"))
        for number in itertools.count(1):
            text = f"question {number} of {call.__name__}"
            if not runner.run(cancelled(call, text, number)):
                break
            runner.run(nothing_is_left(text, number))
            assert number < MOST
    gc.collect()
    assert number > 1
    assert complaints == []


async def cancelled(call: Call, text: str, number: int) -> bool:
    """Whether the call was still running when it was to be cancelled."""
    counting = CancelledAt(call(text), number)  # type: ignore[arg-type]

    async def run() -> None:
        await counting

    task = asyncio.create_task(run())
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
    return counting.waited >= number


async def nothing_is_left(text: str, number: int) -> None:
    deadline = time.monotonic() + 10
    while flying() or claims._keeper._claims:
        assert time.monotonic() < deadline, (number, flying(), claims._keeper._claims)
        await asyncio.sleep(0.005)
    async with asyncio.timeout(10):  # a claim that is left would make it wait
        assert text in await completion(text)
        assert text in await completion(text)
        assert text in await stream(text)
        assert await embedding(text) == await embedding(text)


def flying() -> list[Any]:
    loop = asyncio.get_running_loop()
    return list(afetching.flights._loops.get(loop, {}))


@pytest.mark.parametrize("call", [completion, stream], ids=lambda call: call.__name__)
def test_whoever_goes_away_does_not_promise_that_a_worker_stores_the_answer(
    call: Any, tmp_path: Path
) -> None:
    place = str(tmp_path / "entries")
    stores = {"default": {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": place}}

    async def leave() -> None:
        upstream: Any = upstreams["default"]
        upstream.latency = 30.0
        task = asyncio.create_task(call("hello"))
        while not upstream.calls:
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.wait({task})

    with override_settings(LLMCACHE=stores, LLMCACHE_CONFIG={"WRITER": "celery"}):
        store = caching.for_alias("default")
        assert store is not None
        asyncio.run(leave())
        key = llmcache.explain_key("m", messages=[{"role": "user", "content": "hello"}])
        assert store.backend.claimed(key["digest"]) is None
