"""The vectors of the file, as a process has them in its memory: a copy of each place, brought up to
date before each search.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmcache.backends.semantic.local_graph import Graph, positions
from llmcache.backends.semantic.local_rows import Batch, News, VectorRows
from llmcache.backends.semantic.places import FLOAT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GONE: Final = 0.0
"""The expiry of a row that was removed."""

_SMALL: Final = 1024
_OVERHEAD: Final = 4096
_ATTEMPTS: Final = 5
# Numbers that are multiplied at once. Of more, the library shares the work out among threads, and
# where others want the processors too these wait for each other for longer than the work takes.
_AT_ONCE: Final = 400_000


class View(NamedTuple):
    """The rows of a copy, in the order of their numbers. Rows that come later are not in it; a row
    that goes gets the expiry 0.
    """

    ids: NDArray[np.int64]
    expires: NDArray[np.float64]
    data: NDArray[np.float32]


class Copy:
    """All vectors of one place.

    Attributes:
        made: the file that they are from.
        graph: over most of them, where there are many.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.made = ""
        self.graph: Graph | None = None
        self._lock = threading.Lock()
        self._version: object = None
        self._empty()

    def _empty(self) -> None:
        import numpy as np

        self._ids = np.empty(0, "i8")
        self._expires = np.empty(0, "f8")
        self._data = np.empty((0, self.size // FLOAT), "f4")
        self._used = 0
        self._last_id = 0
        self._last_change: int | None = None

    def _begin(self, made: str) -> None:
        self._empty()
        if made != self.made:
            self.made, self.graph = made, None

    def attach(self, graph: Graph, made: str) -> None:
        """Search a graph over the rows of that file from now on."""
        with self._lock:
            if made == self.made:
                self.graph = graph

    def __len__(self) -> int:
        return self._used

    @property
    def memory(self) -> int:
        """Bytes."""
        return _OVERHEAD + self._ids.nbytes + self._expires.nbytes + self._data.nbytes

    def refresh(self, rows: VectorRows) -> bool:
        """Bring the copy up to date; whether anything may have changed."""
        with self._lock:
            version = rows.version()
            if version == self._version:
                return False
            self._version = None
            news = self._read(rows)
            self._apply(news)
            self._version = version
            return True

    def _read(self, rows: VectorRows) -> News:
        for _ in range(_ATTEMPTS):
            found = rows.news(
                self.name, self.size, self.made, self._last_id, self._last_change, self._take
            )
            if found is not None:
                return found
            self._begin(rows.version()[0])
        raise RuntimeError("the file of vectors was replaced again and again while it was read")

    def _take(self, batch: Batch) -> None:
        import numpy as np

        count = len(batch.ids)
        start, self._used = self._used, self._used + count
        if self._used > len(self._ids):
            self._resize(slice(0, start), max(self._used, 2 * len(self._ids)))
        vectors = np.frombuffer(batch.data, "f4").reshape(count, -1)
        # A damaged vector is none: it has no length, or not a finite one.
        with np.errstate(all="ignore"):
            lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
            sound = np.isfinite(lengths) & (lengths > 0)
            lengths[~sound] = 1.0
            new = slice(start, self._used)
            np.divide(vectors, lengths[:, None], out=self._data[new])
        self._data[new][~sound] = 0.0
        self._ids[new] = batch.ids
        self._expires[new] = np.where(sound, batch.expires, GONE)
        self._last_id = batch.ids[-1]

    def _resize(self, kept: Any, length: int) -> None:
        """Copy the rows that are kept; searches under way go on with the old ones."""
        import numpy as np

        for name in ("_ids", "_expires", "_data"):
            old = getattr(self, name)[kept]
            new = np.empty((length, *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    def _apply(self, news: News) -> None:
        import numpy as np

        self._last_change = news.last_change
        if news.changed:
            # The last word on each row.
            latest = dict(news.changed)
            ids = np.fromiter(latest, "i8", len(latest))
            values = np.fromiter(latest.values(), "f8", len(latest))
            places, known = positions(self._ids[: self._used], ids)
            places, values = places[known], values[known]
            damaged = self._expires[places] == GONE
            self._expires[places] = np.where(damaged, GONE, values)
        kept = self._expires[: self._used] != GONE
        number = int(np.count_nonzero(kept))
        if self._used > _SMALL and number < self._used // 2:
            self._resize(np.flatnonzero(kept), number)
            self._used = number

    def forget(self, ids: Iterable[int]) -> None:
        """Find these rows no more: their entries are gone."""
        import numpy as np

        with self._lock:
            places, known = positions(self._ids[: self._used], np.fromiter(ids, "i8"))
            self._expires[places[known]] = GONE

    def view(self) -> View:
        """The rows as they are now."""
        with self._lock:
            used = self._used
            return View(self._ids[:used], self._expires[:used], self._data[:used])

    def nearest(self, data: bytes, limit: int, now: float) -> list[tuple[int, float]]:
        """The numbers of the nearest rows that have not expired, the nearest first, and how similar
        they are. Fewer than `limit` means that there are no more.
        """
        import numpy as np

        query = np.frombuffer(data, np.float32)
        length = float(np.linalg.norm(query))
        if not 0 < length < float("inf"):
            return []
        query = query / np.float32(length)
        graph, rows = self.graph, self.view()
        if graph is not None:
            found = _among(rows, graph.candidates(rows.ids, query, limit), query, limit, now)
            if len(found) == limit:
                return found
        return _among(rows, None, query, limit, now)


def _among(
    rows: View, places: NDArray[np.int64] | None, query: NDArray[np.float32], limit: int, now: float
) -> list[tuple[int, float]]:
    """Of the rows at some places, or of all, the nearest."""
    import numpy as np

    ids, expires, data = rows if places is None else (part[places] for part in rows)
    scores = _products(data, query)
    scores[expires <= now] = -np.inf
    if len(scores) > limit:
        best = np.argpartition(scores, -limit)[-limit:]
        scores, ids = scores[best], ids[best]
    order = np.argsort(-scores, kind="stable")
    return [
        (int(ids[one]), min(1.0, max(0.0, float(scores[one]))))
        for one in order
        if scores[one] > -np.inf
    ]


def _products(data: Any, query: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    scores = np.empty(len(data), np.float32)
    rows = max(1, _AT_ONCE // query.size)
    for start in range(0, len(data), rows):
        part = slice(start, start + rows)
        np.dot(data[part], query, out=scores[part])
    return scores


class Copies:
    """The copies of a process; those not used for the longest go when they take too much memory."""

    def __init__(self, rows: VectorRows, memory_limit: int) -> None:
        self._rows = rows
        self._memory_limit = memory_limit
        self._lock = threading.Lock()
        self._copies: OrderedDict[str, Copy] = OrderedDict()
        self._counted: dict[str, int] = {}
        self._memory = 0

    def current(self, name: str, size: int) -> Copy:
        """The copy of a place, up to date."""
        with self._lock:
            copy = self._copies.get(name)
            if copy is None:
                copy = self._copies[name] = Copy(name, size)
            else:
                self._copies.move_to_end(name)
        if copy.refresh(self._rows):
            self._count(copy)
        return copy

    def _count(self, copy: Copy) -> None:
        with self._lock:
            if self._copies.get(copy.name) is not copy:
                return
            self._memory += copy.memory - self._counted.get(copy.name, 0)
            self._counted[copy.name] = copy.memory
            while self._memory > self._memory_limit and len(self._copies) > 1:
                name, _ = self._copies.popitem(last=False)
                self._memory -= self._counted.pop(name, 0)

    def clear(self) -> None:
        with self._lock:
            self._copies.clear()
            self._counted.clear()
            self._memory = 0
