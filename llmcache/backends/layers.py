"""The parts of a layered store that do no I/O: its layers, their order, and who overtook whom."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from llmcache import backends, conf
from llmcache.backends.base import BaseBackend, Item
from llmcache.breaker import Breaker
from llmcache.envelope import MAGIC, peek_expiry, peek_freshness
from llmcache.exceptions import InvalidRequest, Resting

logger = logging.getLogger("llmcache")

_STRIPES: Final = 1024
_AT_ONCE: Final = 0.001
"""Seconds: the ttl of what has ended; stores take none that is 0."""


class LayerResting(Resting):
    """A layer failed so often that it is left alone for a while."""


class Layer:
    """A store in its place, with its own breaker: a layer that is down must not slow every read.

    Attributes:
        cap: how many seconds at most it may keep an entry; None for no limit.
    """

    __slots__ = ("breaker", "cap", "name", "store")

    def __init__(self, store: BaseBackend, cap: float | None) -> None:
        self.store = store
        self.name = store.alias
        self.cap = cap
        self.breaker = Breaker(opens=not store.has_own_breakers)

    def ttl(self, ttl: float | None) -> float | None:
        """The ttl of an entry in this layer."""
        if self.cap is None:
            return ttl
        return self.cap if ttl is None else min(ttl, self.cap)

    def items(self, items: Iterable[Item]) -> list[Item]:
        """Entries with the ttl that they have in this layer. In this process's memory they end
        when they are stale: another process may have renewed them by then."""
        if self.cap is None:
            return list(items)
        now = time.time()
        return [
            Item(digest, data, self.ttl(_shorter(ttl, peek_freshness(data) - now)))
            for digest, data, ttl in items
        ]

    def rests(self) -> LayerResting | None:
        """Why not to use the layer now, if so."""
        if self.breaker.allows():
            return None
        return LayerResting(f"Layer {self.name!r} failed too often and is left alone for a while.")

    def failed(self, what: str, error: Exception) -> None:
        """Note and log a failure."""
        if isinstance(error, Resting):
            return
        self.breaker.failed()
        logger.warning(
            "Layer %r failed to %s: %s: %s", self.name, what, type(error).__name__, error
        )


def _shorter(ttl: float | None, left: float) -> float | None:
    if left == math.inf:
        return ttl
    return max(_AT_ONCE, left if ttl is None else min(ttl, left))


class Epochs:
    """Tells a reader whether an entry changed while it was reading.

    Writers call `change` after each layer's change; a reader takes the epoch before it reads and
    compares it before and after it copies upwards. Digests share 1024 epochs, which costs a copy
    now and then; there is no lock.
    """

    __slots__ = ("_ticket", "_values")

    def __init__(self) -> None:
        self._ticket = itertools.count(1)
        self._values = [0] * _STRIPES

    def of(self, digest: str) -> int:
        """The epoch of a digest."""
        return self._values[hash(digest) % _STRIPES]

    def change(self, digests: Iterable[str]) -> None:
        """Entries have changed."""
        for digest in digests:
            self._values[hash(digest) % _STRIPES] = next(self._ticket)

    def change_all(self) -> None:
        """Every entry has changed."""
        self._values = [next(self._ticket)] * _STRIPES


def copies(found: Mapping[str, bytes], taken: Mapping[str, int], epochs: Epochs) -> list[Item]:
    """What layers above may hold of entries found below, with the time that those have left.

    Left out: what changed meanwhile, what has ended, and bytes that are no envelope, whose end
    nobody can tell.

    Args:
        taken: each digest's epoch from before the read.
    """
    now = time.time()
    items = []
    for digest, data in found.items():
        if data[:4] == MAGIC and taken[digest] == epochs.of(digest):
            end = peek_expiry(data)
            if end is None or end > now:
                items.append(Item(digest, data, None if end is None else end - now))
    return items


def overtaken(items: Iterable[Item], taken: Mapping[str, int], epochs: Epochs) -> list[str]:
    """The digests among copied items that changed while they were copied."""
    return [item.digest for item in items if taken[item.digest] != epochs.of(item.digest)]


class Walk:
    """One operation's way through the layers: passes over those that rest and those that fail.

    Used as a context manager around each layer's work, it takes note of how that went and swallows
    the error. At the end `judge` raises the first error if too many layers failed.
    """

    __slots__ = ("_errors", "_layer", "_layers", "_what", "allowed", "depth")

    def __init__(self, layers: Sequence[Layer], what: str, *, allowed: int | None = None) -> None:
        """
        Args:
            allowed: so many layers may fail; all but one if not given. With 0, resting layers are
                tried too.
        """
        self._layers = layers
        self._what = what
        self.allowed = len(layers) - 1 if allowed is None else allowed
        self._errors: list[Exception] = []
        self.depth = 0

    def __iter__(self) -> Iterator[Layer]:
        for depth, layer in enumerate(self._layers):
            if self.allowed and (resting := layer.rests()):
                self._errors.append(resting)
                continue
            self._layer, self.depth = layer, depth
            yield layer

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None:
            self._layer.breaker.succeeded()
        elif isinstance(error, Exception):
            self._layer.failed(self._what, error)
            self._errors.append(error)
            return True
        return False

    def judge(self) -> None:
        """Raise the first error when more layers failed than may."""
        if len(self._errors) > self.allowed:
            raise self._errors[0]


def named(settings: conf.BackendSettings) -> list[BaseBackend]:
    """The stores that OPTIONS["layers"] of an alias names, from the fastest down.

    Raises:
        ImproperlyConfigured: none are named, an alias does not exist, or layers go round in a
            circle.
    """
    name = f"LLMCACHE[{settings.alias!r}]['OPTIONS']['layers']"
    aliases = _aliases(settings.options)
    if not aliases:
        raise ImproperlyConfigured(
            f"{name} must be a list of aliases of LLMCACHE, the fastest first, such as "
            "['default', 'archive']."
        )
    if len(set(aliases)) < len(aliases):
        raise ImproperlyConfigured(f"{name} names an alias twice: {', '.join(aliases)}.")
    known = conf.backends()
    for alias in aliases:
        if alias not in known:
            raise ImproperlyConfigured(
                f"{name}: {InvalidRequest.unknown('alias of LLMCACHE', alias, known)}"
            )
    _refuse_circle(settings.alias, aliases, [settings.alias])
    return [backends.stores[alias] for alias in aliases]


def _aliases(options: Mapping[str, Any]) -> list[str]:
    layers = options.get("layers")
    if isinstance(layers, (list, tuple)) and all(isinstance(alias, str) for alias in layers):
        return list(layers)
    return []


def _refuse_circle(start: str, aliases: Iterable[str], path: list[str]) -> None:
    for alias in aliases:
        if alias in path:
            circle = " -> ".join([*path, alias])
            raise ImproperlyConfigured(
                f"LLMCACHE[{start!r}]['OPTIONS']['layers'] goes round in a circle: {circle}."
            )
        below = conf.backends().get(alias)
        if below is not None:
            _refuse_circle(start, _aliases(below.options), [*path, alias])
