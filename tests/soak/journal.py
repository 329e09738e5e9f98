"""What each process of the site has told of its calls, line by line, so that it outlives a kill.

Processes of the site import this module to write; the soak reads what they wrote.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from llmcache import events
from llmcache.calls import Call
from llmcache.outcome import FAILED, CacheInfo
from llmcache.recorder import recorder


@dataclass(frozen=True, slots=True)
class Line:
    """One call.

    Attributes:
        at: unix seconds at its end.
        name: of the question; "" where the call has none.
        lost: records that its process had dropped by then.
        unindexed: of these, records of entries.
    """

    at: float
    name: str
    outcome: str
    lost: int
    unindexed: int


class Journal:
    """An observer of this process's calls."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = -1
        os.register_at_fork(after_in_child=self._start_afresh)

    def _start_afresh(self) -> None:
        self._file = -1

    def finished(self, call: Call, cache: CacheInfo, response: Callable[[], Any]) -> None:
        self._note(call, cache.outcome)

    def failed(self, call: Call, error: BaseException, seconds: float, alias: str) -> None:
        self._note(call, FAILED)

    def _note(self, call: Call, outcome: str) -> None:
        metadata = call.unkeyed.get("metadata") or {}
        unindexed = events.counts().get("unindexed", 0)
        line = [time.time(), metadata.get("name", ""), outcome, recorder.dropped_ever, unindexed]
        if self._file == -1:
            path = self._folder / str(os.getpid())
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(self._file, orjson.dumps(line) + b"\n")


def begin() -> None:
    """Write from now on to the folder that SOAK_JOURNAL names."""
    events.observers.append(Journal(Path(os.environ["SOAK_JOURNAL"])))


def read(folder: Path) -> dict[int, list[Line]]:
    """The lines of each process, by its id."""
    return {
        int(path.name): [Line(*orjson.loads(line)) for line in path.read_bytes().splitlines()]
        for path in folder.iterdir()
    }
