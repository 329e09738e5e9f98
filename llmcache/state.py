"""Which cache is in force: `llmcache.cache`, for the process or for one context.

`enable_cache()` and its siblings act on the process; the same objects used with `with` act on the
current thread or task only, and put things back at the end.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from llmcache.caching import Cache, for_alias
from llmcache.conf import DEFAULT_ALIAS
from llmcache.exceptions import InvalidRequest

UNSET: Final = object()
_process: object = UNSET
_context: ContextVar[object] = ContextVar("llmcache.cache", default=UNSET)


def current() -> Cache | None:
    """The cache in force here; None when caching is off. Until somebody says otherwise it is the
    alias "default" of the settings."""
    chosen = _context.get()
    if chosen is UNSET:
        chosen = _process
        if chosen is UNSET:
            return for_alias(DEFAULT_ALIAS)
    return chosen  # type: ignore[return-value]


def check(cache: object) -> Cache | None:
    """The argument, if it is a Cache or None.

    Raises:
        InvalidRequest: it is something else.
    """
    if cache is None or isinstance(cache, Cache):
        return cache
    raise InvalidRequest(
        f"llmcache.cache must be a Cache or None, not {cache!r}. "
        'Write llmcache.cache = Cache(type="redis", ...) or enable_cache(type="redis", ...).'
    )


def use(cache: Cache | None) -> None:
    """Put a cache in force for the process; None switches caching off."""
    global _process
    _process = check(cache)


def exchange(choice: object) -> object:
    """Replace the process's choice, and give back what it was so that it can be put back: a Cache,
    None for no caching, or UNSET for the settings' alias "default"."""
    global _process
    before, _process = _process, choice
    return before


def reset() -> None:
    """Back to the settings' alias "default" for the process."""
    global _process
    _process = UNSET


class Switched:
    """What `enable_cache()`, `disable_cache()` and `update_cache()` return.

    By then they have acted. Used as a context manager, the change is taken back from the process
    and holds for the body of the `with` alone, in this thread or task.
    """

    def __init__(self, cache: Cache | None) -> None:
        global _process
        self._before = _process
        self.cache = cache
        _process = cache

    def __enter__(self) -> Cache | None:
        global _process
        if _process is self.cache:
            _process = self._before
        self._token = _context.set(self.cache)
        return self.cache

    def __exit__(self, *exception: object) -> None:
        _context.reset(self._token)

    async def __aenter__(self) -> Cache | None:
        return self.__enter__()

    async def __aexit__(self, *exception: object) -> None:
        self.__exit__()
