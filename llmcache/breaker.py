"""A circuit breaker: leaves a failing store alone for a while, so that it costs nothing to be
down.
"""

from __future__ import annotations

import threading
from time import monotonic

from llmcache import conf


class Breaker:
    """Opens after a number of failures in a row; then lets one call through per cool-down to try.

    `allows()` is one comparison while all is well.

    Args:
        opens: False for what has breakers of its own inside: then it never opens.
    """

    __slots__ = ("_failures", "_lock", "_open_until", "_opens")

    def __init__(self, *, opens: bool = True) -> None:
        self._opens = opens
        self._failures = 0
        self._open_until = 0.0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether calls are being kept away from the store."""
        return self._open_until != 0.0

    def allows(self) -> bool:
        """Whether to call the store now. While open, True once per cool-down: that call is the
        test.
        """
        if self._open_until == 0.0:
            return True
        with self._lock:
            now = monotonic()
            if now < self._open_until:
                return False
            self._open_until = now + conf.config().breaker_cooldown
            return True

    def succeeded(self) -> None:
        """A call worked: close."""
        if self._failures:
            with self._lock:
                self._failures = 0
                self._open_until = 0.0

    def failed(self) -> None:
        """A call failed: open if it was one too many."""
        if not self._opens:
            return
        config = conf.config()
        with self._lock:
            self._failures += 1
            if self._failures >= config.breaker_threshold:
                self._open_until = monotonic() + config.breaker_cooldown
