"""Threads of the cache's own, which a process cannot always have: the system allows it no more, or
it is about to end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Thread
from typing import Any

from llmcache.counting import count

logger = logging.getLogger("llmcache")


def started(target: Callable[..., Any], name: str, *args: object) -> Thread | None:
    """A thread that runs a function, and does not keep the process alive.

    Returns:
        None, counted as `thread_error` and logged, if there can be none now. Whoever needs it tries
        again when next called.
    """
    thread = Thread(target=target, args=args, name=f"llmcache-{name}", daemon=True)
    return thread if starts(thread) else None


def starts(thread: Thread) -> bool:
    """Start a thread; False, counted and logged, if there can be none now."""
    try:
        thread.start()
    except RuntimeError as error:
        count("thread_error")
        logger.warning("The thread %s could not be started: %s", thread.name, error)
        return False
    return True
