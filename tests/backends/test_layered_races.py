"""Changes that overtake a read of a layered store: what they removed must not come back up."""

from __future__ import annotations

import asyncio
import time
from hashlib import sha256
from typing import Any

import pytest

from llmcache.backends.layered import LayeredBackend
from llmcache.backends.memory import MemoryBackend
from llmcache.conf import BackendSettings
from llmcache.envelope import seal

A = sha256(b"a").hexdigest()


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
