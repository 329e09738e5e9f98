"""How often something unusual has happened in this process: what every room may add to."""

from __future__ import annotations

import threading
from collections import Counter

_counts: Counter[str] = Counter()
_lock = threading.Lock()


def count(name: str, number: int = 1) -> None:
    """Add to one of this process's counts of unusual events."""
    with _lock:
        _counts[name] += number


def counts() -> dict[str, int]:
    """Unusual events in this process so far, by name: `unreadable`, `read_error`, `write_error`,
    `uncacheable`, `refused`, `callback_error` and so on."""
    with _lock:
        return dict(_counts)
