"""What every exact store must do for many at once: threads, tasks of two event loops, a fork."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

from django.db import connections

from llmcache.backends.batched import BatchedBackend
from llmcache.backends.django_database import DatabaseBackend
from llmcache.testing.store_contract import A, B, digest
from tests.backends.stores import Make


def test_threads_share_one_store(make: Make) -> None:
    store = make()
    start = threading.Barrier(8)

    def work(thread: int) -> None:
        start.wait()
        for number in range(12):
            name = digest(number % 4)
            store.set(name, name.encode() * 50, 60)
            assert store.get(name) in (name.encode() * 50, None)
            own = digest((thread, number))
            store.set(own, own.encode(), 60)
            assert store.get(own) == own.encode()
            if number % 5 == 0:
                store.delete(name)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, thread) for thread in range(8)]:
            done.result()
    expected = {digest((t, n)): digest((t, n)).encode() for t in range(8) for n in range(12)}
    assert store.get_many(expected) == expected


def test_tasks_of_two_event_loops_share_one_store(make: Make) -> None:
    store = make()

    async def work(loop: int, task: int) -> None:
        for number in range(5):
            name = digest((loop, task, number))
            await store.aset(name, name.encode(), 60)
            assert await store.aget(name) == name.encode()

    async def crowd(loop: int) -> None:
        await asyncio.gather(*(work(loop, task) for task in range(8)))
        await asyncio.gather(*(work(loop, task) for task in range(8)))

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(asyncio.run, crowd(loop)) for loop in range(2)]:
            done.result()
    asyncio.run(crowd(3))
    assert store.get(digest((1, 7, 4))) == digest((1, 7, 4)).encode()


def test_a_forked_child_works_and_leaves_its_parent_unharmed(make: Make) -> None:
    store = make()
    store.set(A, b"before", 60)
    assert store.get(A) == b"before"
    asyncio.run(store.aget(A))
    connections.close_all()  # as Django says: a child must open its own
    if isinstance(store, BatchedBackend):
        store.flush()  # what waits is the parent's to send, and not the child's to see
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # a child that hangs must not outlive the run
        ok = False
        try:
            store.set(B, b"child", 60)
            ok = store.get(B) == b"child" and store.get(A) == b"before"
            # A database's async methods wait for asgiref's thread, which no forked child has.
            if not isinstance(store, DatabaseBackend):
                ok = ok and asyncio.run(store.aget(B)) == b"child"
        finally:
            os._exit(0 if ok else 1)
    for number in range(50):
        name = digest(number)
        store.set(name, name.encode(), 60)
        assert store.get(name) == name.encode()
    assert os.waitpid(child, 0)[1] == 0
    assert store.get(A) == b"before"
