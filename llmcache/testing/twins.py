"""An object's sync methods or, under the same names, their async twins: one way to test both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import iscoroutine
from typing import Any


class Door:
    """Calls a backend's sync methods or those async ones that stand beside them: `aget` for `get`.

    Args:
        runner: of the event loop for the async ones; None for the sync ones.
    """

    def __init__(self, backend: Any, runner: asyncio.Runner | None) -> None:
        self.backend = backend
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        runner = self._runner
        twin = getattr(self.backend, f"a{name}", None)
        if runner is None or twin is None:
            return getattr(self.backend, name)

        def call(*args: Any) -> Any:
            coroutine = twin(*args)
            assert iscoroutine(coroutine)
            return runner.run(coroutine)

        return call


@contextmanager
def door_of(kind: str) -> Iterator[Callable[[Any], Door]]:
    """Makes doors, until the block ends.

    Args:
        kind: "sync", or "async" for calls on an event loop of the block's own.
    """
    if kind == "sync":
        yield lambda backend: Door(backend, None)
        return
    with asyncio.Runner() as runner:
        yield lambda backend: Door(backend, runner)
