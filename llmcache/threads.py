"""Threads of the cache's own, which a process cannot always have: the system allows it no more, or
it is about to end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Thread
from typing import Any

from llmcache.counting import count

logger = logging.getLogger("llmcache")

_failed = False


def started(target: Callable[..., Any], name: str, *args: object) -> Thread | None:
    """A thread that runs a function, and does not keep the process alive.

    Returns:
        None, counted as `thread_error` and logged, if there can be none now. Whoever needs it tries
        again when next called.
    """
    thread = Thread(target=target, args=args, name=f"llmcache-{name}", daemon=True)
    return thread if starts(thread) else None


def starts(thread: Thread) -> bool:
    """Start a thread; False, counted, if there can be none now. Each call may try again, so only
    the first failure in a row is logged.
    """
    global _failed
    try:
        thread.start()
    except RuntimeError as error:
        count("thread_error")
        if not _failed:
            logger.warning("The thread %s could not be started: %s", thread.name, error)
        _failed = True
        return False
    _failed = False
    return True
