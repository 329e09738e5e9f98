"""A store with a way to break it and to mend it again: what the tests and the measured table run
over.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
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
