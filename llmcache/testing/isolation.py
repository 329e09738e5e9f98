"""A cache of the test's own: every alias of LLMCACHE empty and in memory, for the whole process.

The whole process, not the test's context alone, because views, threads and eager tasks of the code
under test are to meet the same cache as the test.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.test.utils import override_settings

from llmcache import conf, state
from llmcache.backends.base import BaseBackend
from llmcache.backends.semantic.base import MATCHING, SemanticBackend
from llmcache.caching import Cache

_MEMORY: Final = "llmcache.backends.memory.MemoryBackend"
_SEMANTIC: Final = "llmcache.backends.semantic.local.LocalSemanticBackend"


@contextmanager
def isolated_cache() -> Iterator[None]:
    """An empty cache in place of each that the settings name, until the block ends.

    An alias keeps its TIMEOUT, KEY_PREFIX and VERSION. One that is searched by meaning stays so, in
    a temporary directory. A `Cache` that the program has put in force is replaced by an empty one
    with its ttl, namespace and call types; where it has switched caching off, it stays off.
    """
    with ExitStack() as undo:
        directory = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="llmcache-")))
        aliases = {
            alias: _empty(settings, directory) for alias, settings in conf.backends().items()
        }
        override = override_settings(LLMCACHE=aliases)
        override.enable()
        undo.callback(override.disable)
        before = state.exchange(state.UNSET)
        undo.callback(state.exchange, before)
        if before is not state.UNSET:
            state.exchange(_like(before) if isinstance(before, Cache) else before)
        yield


def _empty(settings: conf.BackendSettings, directory: Path) -> dict[str, Any]:
    common = {
        "TIMEOUT": settings.timeout,
        "KEY_PREFIX": settings.key_prefix,
        "VERSION": settings.version,
    }
    try:
        name = f"LLMCACHE[{settings.alias!r}]['BACKEND']"
        by_meaning = issubclass(conf.class_at(name, settings.backend, BaseBackend), SemanticBackend)
    except ImproperlyConfigured:  # a store that cannot be had here: the test needs none
        by_meaning = False
    if not by_meaning:
        return {**common, "BACKEND": _MEMORY}
    options = {key: value for key, value in settings.options.items() if key in MATCHING}
    place = directory / str(len(list(directory.iterdir())))
    place.mkdir()
    return {**common, "BACKEND": _SEMANTIC, "LOCATION": str(place), "OPTIONS": options}


def _like(cache: Cache) -> Cache:
    made = Cache(
        type="local",
        ttl=cache.ttl,
        namespace=cache.namespace,
        supported_call_types=sorted(cache.supported_call_types),
        mode="default_off" if cache.opt_in else "default_on",
    )
    if "get_cache_key" in cache.custom:
        setattr(made, "get_cache_key", cache.custom["get_cache_key"])  # noqa: B010
    return made
