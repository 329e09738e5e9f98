"""The graphs of a store: when one is built, by which thread, and where it is kept."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from llmcache import threads
from llmcache.backends.semantic.local_copies import GONE, Copy, View
from llmcache.backends.semantic.local_graph import Graph
from llmcache.backends.semantic.local_rows import VectorRows
from llmcache.backends.semantic.places import FLOAT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger("llmcache")

EXACT: Final = 20_000
"""So many vectors of a place, and no more, are compared one by one."""

# Rows that the graph does not know yet are compared one by one: few enough to cost next to nothing.
_BEHIND: Final = 1_000
# So few at a time that a search hardly waits for the builder.
_CHUNK: Final = 16
_PAUSE: Final = 0.0005
_SAVED_EVERY: Final = 0.1
# Seconds.
_LEFT: Final = 3600
_PATIENCE: Final = 10
_POLL: Final = 0.1


class Graphs:
    """Builds graphs, one after the other, in a thread that lives as long as there is one to build.

    Args:
        path: of the file of vectors; the graphs' files are beside it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Condition()
        self._waiting: dict[str, Copy] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def keep_up(self, copy: Copy) -> None:
        """Have the graph of a place built or extended, if it is due. Does not wait for it."""
        rows = len(copy)
        if rows <= EXACT or copy.name in self._waiting:
            return
        graph = copy.graph
        if graph is not None and not _is_due(graph, copy.view()):
            return
        with self._lock:
            self._waiting[copy.name] = copy
            if self._thread is None:
                self._thread = threads.started(self._run, "graphs", self._closed)
                if self._thread is None:
                    self._waiting.clear()  # the next search asks for it again

    def _run(self, closed: threading.Event) -> None:
        while True:
            with self._lock:
                if not self._waiting or closed.is_set():
                    self._waiting.clear()
                    self._thread = None
                    self._lock.notify_all()
                    return
                name, copy = next(iter(self._waiting.items()))
            try:
                self._build(copy, closed)
            except Exception:
                logger.exception("llmcache: a graph of vectors could not be built")
            finally:
                with self._lock:
                    self._waiting.pop(name, None)

    def _build(self, copy: Copy, closed: threading.Event) -> None:
        if copy.graph is not None:
            self._extend(copy, closed)
            return
        # Processes that start together need one and the same graph: one builds it, the others load.
        with _turn(self._of_all, closed):
            self._extend(copy, closed)

    def _extend(self, copy: Copy, closed: threading.Event) -> None:
        made, rows = copy.made, copy.view()
        path, dimension = self._of(copy.name), copy.size // FLOAT
        graph = copy.graph or Graph.load(path, made, dimension)
        if graph is None or _is_stale(graph, rows):
            graph = Graph(dimension)
        known = len(graph)
        while not closed.is_set():
            todo = _unknown(graph, rows)
            if len(todo) <= EXACT:
                copy.attach(graph, made)
            if not len(todo):
                break
            for start in range(0, len(todo), _CHUNK):
                chunk = todo[start : start + _CHUNK]
                graph.add(rows.ids[chunk], rows.data[chunk])
                if closed.is_set():
                    return
                time.sleep(_PAUSE)
            rows = copy.view()
        if len(graph) - known > _SAVED_EVERY * len(graph):
            graph.save(path, made)

    @property
    def _of_all(self) -> Path:
        return self._path.with_name(f"{self._path.name}-graphs.lock")

    def _of(self, name: str) -> Path:
        return self._path.with_name(f"{self._path.name}-{name}.graph")

    def wait(self, timeout: float) -> bool:
        """Wait until no graph is being built; False if that takes longer than so many seconds."""
        with self._lock:
            return self._lock.wait_for(lambda: self._thread is None, timeout)

    def sweep(self, rows: VectorRows) -> None:
        """Remove the files of graphs over places that are empty, and what a killed process left."""
        head = f"{self._path.name}-"
        for path in self._path.parent.glob(f"{head}*.graph"):
            if not rows.has_place(path.name[len(head) : -len(".graph")]):
                path.unlink(missing_ok=True)
        for path in self._path.parent.glob(f"{head}*.tmp"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _LEFT:
                    path.unlink()

    def close(self) -> None:
        """Give up what is being built; the next search begins again."""
        self._closed.set()
        self.wait(_PATIENCE)
        self._closed = threading.Event()


@contextmanager
def _turn(path: Path, closed: threading.Event) -> Iterator[None]:
    """Wait until no other process of this machine is in it, or until the store is closed."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    # Not flock: a forked child would go on holding that.
    with path.open("ab") as file:
        while not closed.is_set():
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                closed.wait(_POLL)
        yield


def _unknown(graph: Graph, rows: View) -> NDArray[np.int64]:
    """Where the rows are that a graph must still take in."""
    import numpy as np

    start = int(np.searchsorted(rows.ids, graph.last_id, "right"))
    # Also the expired: another process may have given them a new expiry in this moment.
    return start + np.flatnonzero(rows.expires[start:] != GONE)


def _is_due(graph: Graph, rows: View) -> bool:
    behind = len(rows.ids) - int(rows.ids.searchsorted(graph.last_id, "right"))
    return behind > _BEHIND or _is_stale(graph, rows)


def _is_stale(graph: Graph, rows: View) -> bool:
    """Whether most of what the graph knows has been removed."""
    return len(graph) > 2 * len(rows.ids)
