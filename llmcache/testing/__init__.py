"""For the tests of projects that use llmcache: recorded answers in place of a paid API.

Nothing is imported until it is used; pytest only by the plugin, which is a module of its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmcache.testing.asserts import (
        assert_cached,
        assert_evicted,
        assert_in_cache,
        assert_not_cached,
        assert_outcome,
        assert_saved_tokens,
    )
    from llmcache.testing.blocks import CassetteBlock, block_live_calls, use_cassette
    from llmcache.testing.counting import UpstreamCalls, assert_upstream_calls
    from llmcache.testing.faking import FakeAnswers
    from llmcache.testing.isolation import isolated_cache
    from llmcache.testing.problems import CassetteError, UnexpectedLiveCall, UnusedRecordings
    from llmcache.testing.testcase import LLMCacheTestMixin

__all__ = [
    "CassetteBlock",
    "CassetteError",
    "FakeAnswers",
    "LLMCacheTestMixin",
    "UnexpectedLiveCall",
    "UnusedRecordings",
    "UpstreamCalls",
    "assert_cached",
    "assert_evicted",
    "assert_in_cache",
    "assert_not_cached",
    "assert_outcome",
    "assert_saved_tokens",
    "assert_upstream_calls",
    "block_live_calls",
    "isolated_cache",
    "use_cassette",
]

_HOMES = {
    "CassetteBlock": "blocks",
    "CassetteError": "problems",
    "FakeAnswers": "faking",
    "LLMCacheTestMixin": "testcase",
    "UnexpectedLiveCall": "problems",
    "UnusedRecordings": "problems",
    "UpstreamCalls": "counting",
    "assert_upstream_calls": "counting",
    "block_live_calls": "blocks",
    "isolated_cache": "isolation",
    "use_cassette": "blocks",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'asserts')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
