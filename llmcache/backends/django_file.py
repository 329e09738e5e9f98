"""Django's FileBasedCache, read without unpickling. Its files are named by a hash, so each of ours
begins with its key: that tells which files are this alias's."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import time
from typing import Any, cast

from django.core.cache import caches

from llmcache.backends import plain_pickle
from llmcache.backends.base import BaseBackend, Item
from llmcache.backends.django import DjangoCacheBackend
from llmcache.backends.keyspace import Keyspace
from llmcache.conf import BackendSettings


class FileBackend(DjangoCacheBackend):
    """A store in files, shared by the processes of this machine."""

    exact_ttl: bool = True
    supports_iterate: bool = True
    supports_clear: bool = True

    def __init__(self, settings: BackendSettings) -> None:
        super().__init__(settings)
        self._files: Any = caches.create_connection(self.cache_alias)

    def get(self, digest: str) -> bytes | None:
        path = Path(self._files._key_to_file(self.prefix + digest))
        found = _open(path)
        if found is None or found[0] != self.prefix + digest:
            return None
        return found[1]

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        return BaseBackend.get_many(self, digests)

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        key = self.prefix + digest
        self._files.set(key, key.encode() + b"\0" + data, ttl)

    def set_many(self, items: Iterable[Item]) -> None:
        BaseBackend.set_many(self, items)

    def delete(self, digest: str) -> bool:
        live = self.get(digest) is not None
        self._files.delete(self.prefix + digest)
        return live

    def touch(self, digest: str, ttl: float | None) -> bool:
        data = self.get(digest)
        if data is None:
            return False
        self.set(digest, data, ttl)
        return True

    def clear(self) -> int:
        return self.delete_many(list(self.iterate()))

    def _paths(self) -> list[Path]:
        return [Path(name) for name in self._files._list_cache_files()]

    def iterate(self) -> Iterator[str]:
        space = Keyspace(self.prefix)
        for path in self._paths():
            found = _open(path)
            digest = space.digest(found[0]) if found is not None else None
            if digest is not None:
                yield digest

    def sweep(self, limit: int = 1000) -> int:
        removed = 0
        for path in self._paths():
            if removed == limit:
                break
            if _expired(path):
                path.unlink(missing_ok=True)
                removed += 1
        return removed


def _read(path: Path) -> tuple[float | None, bytes] | None:
    """When a file's entry ends and the compressed rest; None if there is no such file."""
    try:
        file = io.BytesIO(path.read_bytes())
    except FileNotFoundError:
        return None
    return cast("float | None", plain_pickle.read(file)), file.read()


def _expired(path: Path) -> bool:
    try:
        found = _read(path)
    except plain_pickle.Refused:
        return False
    return found is not None and found[0] is not None and found[0] <= time()


def _open(path: Path) -> tuple[str, bytes] | None:
    """The key and the data of a live entry of ours; None if the file holds none.

    Raises:
        Refused: the file holds something that nobody should unpickle.
    """
    found = _read(path)
    if found is None or (found[0] is not None and found[0] <= time()):
        return None
    try:
        plain = zlib.decompress(found[1])
    except zlib.error as error:
        raise plain_pickle.Refused(f"a file is damaged: {error}") from error
    key, mark, data = plain_pickle.read_bytes(plain).partition(b"\0")
    return (key.decode(), data) if mark else None
