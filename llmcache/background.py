"""Threads of our own, beside the callers': what becomes of one that the system has no room for."""

from __future__ import annotations

import logging
import threading
from typing import TypeVar

from llmcache.counting import count

T = TypeVar("T", bound=threading.Thread)

logger = logging.getLogger("llmcache")

_refused = False


def begun(thread: T) -> T | None:
    """The thread, started; None where the system starts no more of them, or the interpreter is
    about to end. That is counted, and logged the first time in a row.

    No call must fail for it, nor must what the thread is for be given up for good: whoever needs it
    tries again with a new one.
    """
    global _refused
    try:
        thread.start()
    except RuntimeError as error:
        count("thread_error")
        if not _refused:
            logger.warning("The thread %s could not be started: %s", thread.name, error)
        _refused = True
        return None
    _refused = False
    return thread
