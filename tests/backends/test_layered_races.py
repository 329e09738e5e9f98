"""Changes that overtake a read of a layered store: what they removed must not come back up."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from llmcache.backends.disk import DiskBackend
from llmcache.backends.layered import LayeredBackend
from llmcache.backends.memory import MemoryBackend
from llmcache.conf import BackendSettings
from llmcache.envelope import seal
from tests.backends.spied import A, Three, disk, sealed


class Shared(MemoryBackend):
    """Memory that stands for a store which other processes share."""

    process_local = False


def memory(kind: type[MemoryBackend] = Shared) -> Any:
    return kind(BackendSettings(alias="m"))


def envelope(payload: bytes = b"{}") -> bytes:
    now = time.time()
    return seal(A, payload, created=now, expires=now + 60, sign=False)


@pytest.mark.parametrize("change", ["delete", "replace", "clear"])
@pytest.mark.parametrize("moment", ["after the read", "during the copy"])
def test_what_changes_during_a_read_is_not_copied_back_up(change: str, moment: str) -> None:
    old, new = envelope(b"old"), envelope(b"new")

    def change_now() -> None:
        if change == "delete":
            store.delete(A)
        elif change == "replace":
            store.set(A, new, 60)
        else:
            store.clear()

    class Lowest(Shared):
        def get(self, digest: str) -> bytes | None:
            data = super().get(digest)
            if moment == "after the read":
                change_now()
            return data

    class Top(Shared):
        busy = False

        def set_many(self, items: Any) -> None:
            if moment == "during the copy" and not self.busy:
                self.busy = True
                change_now()
            super().set_many(items)

    top, lowest = memory(Top), memory(Lowest)
    lowest.set(A, old, 60)
    store = LayeredBackend.over([top, lowest])
    assert store.get(A) == old  # the read began before the change
    assert top.get(A) != old


def test_a_read_in_a_task_that_is_cancelled_spoils_nothing() -> None:
    top, lowest = memory(), memory()
    store = LayeredBackend.over([top, lowest])

    async def use() -> None:
        task = asyncio.create_task(store.aget(A))
        await asyncio.sleep(0)
        task.cancel()
        await store.aset(A, envelope(), 60)
        assert await store.aget(A) is not None

    asyncio.run(use())
    assert store.get(A) is not None


def test_a_delete_during_a_read_leaves_no_copy_of_what_it_removed(three: Three) -> None:
    three.bottom.set(A, sealed(A), 60)
    three.bottom.hooks["get"] = lambda: three.backend.delete_many([A]) and None
    assert three.store.get(A) is not None  # it was there when it was read
    assert three.has(A) == [False] * 3
    three.bottom.set(A, sealed(A), 60)
    three.bottom.hooks["get"] = lambda: three.backend.clear() and None
    assert three.store.get_many([A])
    assert three.has(A) == [False] * 3


def test_a_delete_while_a_copy_is_made_removes_the_copy_too(three: Three) -> None:
    three.bottom.set(A, sealed(A), 60)

    def delete_before_the_copy_lands() -> None:
        copy = MemoryBackend.get(three.top, A)
        three.backend.delete_many([A])
        assert copy is not None
        MemoryBackend.set(three.top, A, copy, 60)

    three.top.hooks["set"] = delete_before_the_copy_lands
    assert three.store.get(A) is not None
    assert three.has(A)[0] is False


def test_a_read_that_began_before_a_write_does_not_put_the_old_answer_back(three: Three) -> None:
    new = sealed(A, b"new")
    three.bottom.set(A, sealed(A, b"old"), 60)
    three.bottom.hooks["get"] = lambda: three.backend.set(A, new, 60)
    three.store.get(A)
    assert MemoryBackend.get(three.top, A) in (new, None)
    assert three.store.get(A) == new


def test_readers_and_deleters_at_once_never_resurrect_an_entry(tmp_path: Path) -> None:
    upper = MemoryBackend(BackendSettings(alias="m"))
    backend = LayeredBackend.over([upper, disk(tmp_path)], local_ttl=None)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            backend.get(A)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(40):
            backend.layers[-1].set(A, sealed(A), 60)
            backend.get(A)
            backend.delete(A)
            time.sleep(0.002)  # lets a reader that read before the delete finish
            end = time.monotonic() + 5
            while backend.get(A) is not None:
                assert time.monotonic() < end
        stop.set()
        for reader in readers:
            reader.join()
        assert backend.get(A) is None
    finally:
        stop.set()


def test_the_async_methods_do_not_block_the_event_loop(tmp_path: Path) -> None:
    class Slow(DiskBackend):
        def get(self, digest: str) -> bytes | None:
            time.sleep(0.2)
            return super().get(digest)

    lower = Slow(BackendSettings(alias="slow", location=str(tmp_path)))
    backend = LayeredBackend.over([MemoryBackend(BackendSettings(alias="m")), lower])

    async def main() -> int:
        ticks, reading = 0, asyncio.ensure_future(backend.aget(A))
        while not reading.done():
            ticks += 1
            await asyncio.sleep(0.005)
        return ticks

    assert asyncio.run(main()) > 3
