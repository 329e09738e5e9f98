"""Reading what Django's file and database caches wrote, without running what others put there.

Those caches pickle every value. Our values are bytes, and the pickle of bytes names no class and no
function; so this reader refuses every name, and with it every way to run code.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, NoReturn

from llmcache.exceptions import LLMCacheError


class Refused(LLMCacheError):
    """The pickle is damaged, or asks for a class or a function."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise Refused(f"a stored value asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise Refused("a stored value asks for another object")


def read(file: io.BytesIO) -> Any:
    """The next value of a pickle stream, made of numbers, texts, bytes and containers only.

    Raises:
        Refused: it is anything else.
    """
    try:
        return _Reader(file).load()
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"a stored value cannot be read: {error}") from error


def read_bytes(data: bytes) -> bytes:
    """The bytes in a pickle.

    Raises:
        Refused: there is something else in it.
    """
    value = read(io.BytesIO(data))
    if not isinstance(value, bytes):
        raise Refused(f"found {type(value).__name__} where our bytes should be")
    return value
