"""A store with a way to break it and to mend it again: what the tests and the measured table run
over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HIT, MISS, ERROR = "hit", "miss", "error"


@dataclass
class Part:
    """A store that works, until it is struck.

    Attributes:
        store: what LLMCACHE["default"] is to be.
        strike: breaks it.
        mend: makes it work again.
        known: outcomes that a stored question may have meanwhile.
        new: outcomes that a new question may have.
        fails: whether the cache counts a failure.
        settings: further settings.
    """

    store: dict[str, Any]
    strike: Callable[[], object]
    mend: Callable[[], object]
    known: set[str] = field(default_factory=lambda: {ERROR})
    new: set[str] = field(default_factory=lambda: {ERROR})
    fails: bool = True
    settings: dict[str, Any] = field(default_factory=dict)


Fault = Callable[[Path], AbstractContextManager[Part]]


@contextmanager
def no_threads() -> Iterator[None]:
    """No thread can be started: each would need more memory than there can be."""
    before = threading.stack_size(2**46)
    try:
        yield
    finally:
        threading.stack_size(before)
