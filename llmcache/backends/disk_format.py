"""How diskcache keeps our entries: text keys and bytes as they are. Whatever else lies in the
directory is refused, so nobody who can write to it runs code through us (CVE-2025-69872)."""

from __future__ import annotations

import re
from typing import Any, Final

from diskcache import Disk, core

from llmcache.exceptions import LLMCacheError

_OWN_FILE: Final = re.compile(r"[0-9a-f]{2}[\\/][0-9a-f]{2}[\\/][0-9a-f]{28}\.val")


class Refused(LLMCacheError):
    """A key or a value in the directory is not one that we have written."""


class BytesDisk(Disk):  # type: ignore[misc] # diskcache has no types
    """Neither pickles nor unpickles."""

    def put(self, key: Any) -> tuple[Any, bool]:
        if not isinstance(key, str):
            raise Refused(f"keys are text, not {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: bool) -> Any:
        if not raw:
            raise Refused("a pickled key")
        return key

    def store(self, value: Any, read: bool, key: Any = core.UNKNOWN) -> Any:
        if not isinstance(value, bytes):
            raise Refused(f"values are bytes, not {type(value).__name__}")
        return super().store(value, read, key=key)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        if mode not in (core.MODE_RAW, core.MODE_BINARY):
            raise Refused("a value that is not plain bytes")
        if filename is not None and not _OWN_FILE.fullmatch(str(filename)):
            raise Refused("a value in a file outside the directory")
        found = super().fetch(mode, filename, value, read)
        if not isinstance(found, bytes):
            raise Refused("a value that is not plain bytes")
        return found

    def remove(self, file_path: Any) -> None:
        # A planted row must not make us delete another program's file; nor may it stop a sweep.
        if isinstance(file_path, str) and _OWN_FILE.fullmatch(file_path):
            super().remove(file_path)
