"""What stands between the calls and their providers: one stack for the process, newest last.

Threads and eager tasks of the code under test share it, so one process runs one test at a time, as
test runners do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ClassVar, Final

from llmcache.upstreams import upstreams
from llmcache.upstreams.base import BaseUpstream


class Layer:
    """One that hears of every call which the cache did not answer.

    Attributes:
        is_source: whether it answers calls itself, or lets them through to the provider: of several
            such only the newest is asked. Others count, and all are asked.
    """

    is_source: ClassVar[bool] = False

    def stand_in(self, upstream: BaseUpstream) -> BaseUpstream:
        """The upstream to use in place of one."""
        raise NotImplementedError


_layers: Final[list[Layer]] = []
_lock: Final = threading.Lock()
_before: Callable[[BaseUpstream], BaseUpstream] | None = None


def push(layer: Layer) -> None:
    """Put a layer on top."""
    global _before
    with _lock:
        if not _layers:
            _before, upstreams.interceptor = upstreams.interceptor, _intercepted
        _layers.append(layer)


def remove(layer: Layer) -> None:
    """Take a layer out, wherever it is; nothing happens if it is out already."""
    global _before
    with _lock:
        if layer not in _layers:
            return
        _layers.remove(layer)
        if not _layers:
            upstreams.interceptor, _before = _before, None


def _intercepted(upstream: BaseUpstream) -> BaseUpstream:
    with _lock:
        layers, before = list(_layers), _before
    if before is not None:
        upstream = before(upstream)
    answering = [layer for layer in layers if layer.is_source][-1:]
    counting = [layer for layer in layers if not layer.is_source]
    for layer in answering + counting:
        upstream = layer.stand_in(upstream)
    return upstream


class StandIn(BaseUpstream):
    """An upstream in place of another, whose name, identity and kinds it has."""

    def __init__(self, upstream: BaseUpstream) -> None:
        super().__init__(upstream.settings)
        self.real = upstream
        self.name = upstream.name
        self.kinds = upstream.kinds  # type: ignore[misc]

    def identity(self, base_url: str | None = None) -> str:
        return self.real.identity(base_url)
