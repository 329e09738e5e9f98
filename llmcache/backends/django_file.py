"""Django's FileBasedCache, read without unpickling. Its files are named by a hash, so each of ours
begins with its key: that tells which files are this alias's."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import time
from typing import Any, Final

from django.core.cache import caches
from django.core.checks import CheckMessage

from llmcache.backends import checks, plain_pickle
from llmcache.backends.base import BaseBackend, Item
from llmcache.backends.django import DjangoCacheBackend
from llmcache.backends.gathering import GatheredInThreads
from llmcache.conf import BackendSettings

_MAX_BYTES: Final = 1 << 30


class FileBackend(GatheredInThreads, DjangoCacheBackend):
    """A store in files, shared by the processes of this machine."""

    exact_ttl: bool = True
    supports_iterate: bool = True
    supports_clear: bool = True
    supports_claims: bool = False  # files have no step of "only if it is not there" that can end

    def __init__(self, settings: BackendSettings) -> None:
        super().__init__(settings)
        self._files: Any = caches.create_connection(self.cache_alias)

    def get(self, digest: str) -> bytes | None:
        found = _open(self._path(digest))
        if found is None:
            return None
        if found[0] != self.make_key(digest):
            raise plain_pickle.Refused("a file holds another key's entry")
        return found[1]

    def _path(self, digest: str) -> Path:
        return Path(self._files._key_to_file(self.prefix + digest))

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        return BaseBackend.get_many(self, digests)

    def set(self, digest: str, data: bytes, ttl: float | None) -> None:
        value = self.make_key(digest).encode() + b"\0" + data
        self._files.set(self.prefix + digest, value, ttl)

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
        space = self.keyspace()
        for path in self._paths():
            try:
                found = _open(path)
            except plain_pickle.Refused:  # another program's value
                continue
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

    def check(self) -> list[CheckMessage]:
        return [*super().check(), *checks.few_entries(self, self.cache_alias, self.description)]


def _read(path: Path) -> tuple[float | None, bytes] | None:
    """When a file's entry ends and the compressed rest; None if there is no such file."""
    try:
        file = io.BytesIO(path.read_bytes())
    except FileNotFoundError:
        return None
    end = plain_pickle.read(file)
    if not (end is None or isinstance(end, float)):
        raise plain_pickle.Refused("a file does not begin with its end")
    return end, file.read()


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
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(found[1], _MAX_BYTES)
    except zlib.error as error:
        raise plain_pickle.Refused(f"a file is damaged: {error}") from error
    if not inflater.eof:
        raise plain_pickle.Refused("a file is cut short or holds over 1 GiB")
    key, mark, data = plain_pickle.read_bytes(plain).partition(b"\0")
    return (key.decode("utf-8", "replace"), data) if mark else None
