"""A store on this machine's disk that is searched by meaning, with no server: vectors in a file of
their own beside the entries, and a copy of them in the memory of each process.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from time import time
from typing import Any, ClassVar, Final

from llmcache.backends.disk import DEFAULTS as ENTRIES
from llmcache.backends.disk import DiskBackend
from llmcache.backends.semantic.base import MATCHING, Neighbour, SemanticBackend, Vector
from llmcache.backends.semantic.local_copies import Copies
from llmcache.backends.semantic.local_file import VectorFile
from llmcache.backends.semantic.local_graphs import Graphs
from llmcache.backends.semantic.local_rows import NEVER, Row, VectorRows
from llmcache.backends.semantic.places import FLOAT, place, split_options
from llmcache.conf import BackendSettings
from llmcache.packages import require_package

DEFAULTS: Final = {"memory_limit": 1024 * 1024 * 1024}
# diskcache's own check deletes a file without "cache.db" in its name.
_FILE: Final = "cache.db.vectors"
# Vectors whose entries are gone may crowd out live ones: then look further.
_WIDER: Final = 8
_ASKED: Final = 500


class LocalSemanticBackend(SemanticBackend, DiskBackend):
    """LOCATION, and further OPTIONS: as DiskBackend's.

    OPTIONS:
        memory_limit (int): bytes of vectors that each process keeps in memory. What was not
            searched for the longest goes, and is read anew when it is needed; one partition is
            always kept whole.

    Up to 20,000 vectors of a partition are compared one by one. Where there are more, a thread
    builds a graph over them, which is searched from then on.

    Raises:
        ImproperlyConfigured: a package is missing, or the settings make no sense.
    """

    defaults: ClassVar[Mapping[str, Any]] = {**ENTRIES, **MATCHING, **DEFAULTS}

    def __init__(self, settings: BackendSettings) -> None:
        # Before what it builds on looks for its own part: one extra brings all.
        for package in ("diskcache", "numpy", "usearch"):
            require_package(settings.setting, package, "semantic")
        options, rest = split_options(settings, DEFAULTS, ENTRIES)
        super().__init__(rest)
        self._memory_limit = options.whole("memory_limit")
        self._file = VectorFile(
            self._directory / _FILE, self._timeout, lambda: self.cache.transact()
        )
        self._swept_to = 0
        self._begin()
        _stores.add(self)

    def _begin(self) -> None:
        self._rows = VectorRows(self._file)
        self._graphs = Graphs(self._file.path)
        self._copies = Copies(self._rows, self._memory_limit)

    def start_afresh(self) -> None:
        """In a forked child: leave alone what is the parent's."""
        self._file.start_afresh()
        self._begin()

    # --- vectors ---

    def add(self, vectors: Iterable[Vector]) -> None:
        self._rows.add(self.prefix, vectors)

    def nearest(
        self, partition: str, space: str, data: bytes, limit: int = 5
    ) -> Sequence[Neighbour]:
        if limit < 1 or not data or len(data) % FLOAT:
            return []
        name, asked = place(self.prefix, partition, space, len(data)), limit
        while True:
            copy = self._copies.current(name, len(data))
            self._graphs.keep_up(copy)
            candidates = copy.nearest(data, asked, time())
            rows = self._rows.rows(copy.made, [number for number, _ in candidates], time())
            if rows is None:
                continue  # the file was set aside in this moment
            live = self._live(rows.values())
            found = [
                Neighbour(rows[number].digest, rows[number].prompt, similarity)
                for number, similarity in candidates
                if number in live
            ]
            if len(found) >= limit or len(candidates) < asked:
                return found[:limit]
            copy.forget(number for number, _ in candidates if number not in live)
            asked *= _WIDER

    def _live(self, rows: Iterable[Row]) -> set[int]:
        """The numbers of those rows whose entries are there and have not expired."""
        keys = {row.owner + row.digest: row.id for row in rows}
        waiting, live = iter(keys), set()
        while batch := list(islice(waiting, _ASKED)):
            marks = ",".join("?" * len(batch))
            present = (
                f"SELECT key FROM Cache WHERE raw = 1 AND key IN ({marks})"  # noqa: S608
                " AND (expire_time IS NULL OR expire_time > ?)"
            )
            found = self.cache._sql(present, (*batch, time())).fetchall()
            live |= {keys[key] for (key,) in found}
        return live

    def vector_count(self) -> int:
        return len(self._live(self._rows.owned(self.prefix, time())))

    # --- entries ---

    def delete(self, digest: str) -> bool:
        removed = super().delete(digest)
        self._rows.remove(self.prefix, [digest])
        return removed

    def delete_many(self, digests: Iterable[str]) -> int:
        digests = list(digests)
        removed = super().delete_many(digests)
        self._rows.remove(self.prefix, digests)
        return removed

    def touch(self, digest: str, ttl: float | None) -> bool:
        touched = super().touch(digest, ttl)
        if touched:
            self._rows.touch(self.prefix, digest, NEVER if ttl is None else time() + ttl)
        return touched

    def clear(self) -> int:
        removed = super().clear()
        self._rows.remove_all(self.prefix)
        return removed

    def sweep(self, limit: int = 1000) -> int:
        """Delete up to `limit` expired entries and as many vectors that have expired or lost their
        entry; how many entries.
        """
        removed = super().sweep(limit)
        self._rows.sweep(time(), limit)
        # diskcache evicts entries without a word.
        numbers, rows = self._rows.after(self._swept_to, limit)
        live = self._live(rows)
        self._rows.remove_rows([number for number in numbers if number not in live])
        self._swept_to = numbers[-1] if numbers else 0
        self._graphs.sweep(self._rows)
        return removed

    def close(self) -> None:
        self._graphs.close()
        self._copies.clear()
        self._file.close()
        super().close()


_stores: weakref.WeakSet[LocalSemanticBackend] = weakref.WeakSet()


def _start_afresh() -> None:
    for store in list(_stores):
        store.start_afresh()


os.register_at_fork(after_in_child=_start_afresh)
