"""A graph over the vectors of one big place (usearch's HNSW), and its file, so that another process
need not build it again.
"""

from __future__ import annotations

import logging
import os
import threading
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger("llmcache")

_MAGIC: Final = b"llmcache-graph-1"
_SUM: Final = 32
_NUMBER: Final = 8
# It may find some that have been removed: so many more are asked for, which costs nothing.
_SPARE: Final = 16
_DAMAGED: Final = "llmcache: the graph in %s cannot be read and is built anew (%s)"


class Graph:
    """Knows all rows of a place up to `last_id`, those that were removed since included."""

    def __init__(self, dimension: int) -> None:
        from usearch.index import Index

        self._index: Any = Index(
            ndim=dimension,
            metric="ip",
            dtype="f16",
            connectivity=16,
            expansion_add=128,
            expansion_search=64,
        )
        self._lock = threading.Lock()
        self.last_id = 0

    def __len__(self) -> int:
        return len(self._index)

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Take in rows that follow `last_id`, in the order of their numbers."""
        with self._lock:
            self._index.add(ids.astype("u8"), vectors, threads=1)
            self.last_id = int(ids[-1])

    def candidates(
        self, ids: NDArray[np.int64], query: NDArray[np.float32], limit: int
    ) -> NDArray[np.int64]:
        """Where, among the sorted numbers of rows, those are that may be the nearest: what the
        graph finds, and all that it does not know yet.
        """
        import numpy as np

        with self._lock:
            found = self._index.search(query, 2 * limit + _SPARE, threads=1).keys.astype("i8")
            last = self.last_id
        places, known = positions(ids, found)
        unknown = np.arange(np.searchsorted(ids, last, "right"), len(ids))
        return np.concatenate([places[known], unknown])

    # --- its file ---

    def save(self, path: Path, made: str) -> None:
        """Write the graph, so that readers see all of it or none.

        Args:
            made: the name of the file of vectors whose rows these are.
        """
        with self._lock:
            body = bytes(self._index.save())
            number = self.last_id.to_bytes(_NUMBER, "big")
        written = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with written.open("wb") as file:
                file.write(_MAGIC + _checksum(made, number, body) + number)
                file.write(body)
            written.replace(path)
        finally:
            written.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path, made: str, dimension: int) -> Graph | None:
        """The graph in a file, or None if there is none for this file of vectors."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        start = len(_MAGIC) + _SUM
        number, body = data[start : start + _NUMBER], memoryview(data)[start + _NUMBER :]
        # usearch trusts what it loads, so nothing reaches it that is not as it was written.
        if data[:start] != _MAGIC + _checksum(made, number, body):
            logger.warning(_DAMAGED, path, "checksum")
            return None
        graph = cls(dimension)
        try:
            graph._index.load(bytes(body))
        except (RuntimeError, ValueError) as error:
            logger.warning(_DAMAGED, path, error)
            return None
        if graph._index.ndim != dimension:
            return None
        graph.last_id = int.from_bytes(number, "big")
        return graph


def positions(
    ids: NDArray[np.int64], wanted: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where the wanted numbers are among sorted ones, and which of them are there at all."""
    import numpy as np

    if not len(ids):
        return np.zeros(len(wanted), "i8"), np.zeros(len(wanted), "?")
    places = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return places, ids[places] == wanted


def _checksum(made: str, number: bytes, body: bytes | memoryview) -> bytes:
    hashed = blake2b(made.encode(), digest_size=_SUM)
    hashed.update(number)
    hashed.update(body)
    return hashed.digest()
