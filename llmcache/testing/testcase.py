"""For unittest and Django's test classes: a cassette for each test."""

from __future__ import annotations

import inspect
import os
import unittest
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from llmcache.testing import asserts, counting, places
from llmcache.testing.blocks import CassetteBlock, use_cassette
from llmcache.testing.counting import UpstreamCalls
from llmcache.testing.player import Player


class LLMCacheTestMixin(unittest.TestCase):
    """Goes before the test class: `class AnswerTests(LLMCacheTestMixin, TestCase)`.

    Each test begins with an empty cache and gets its answers from
    `cassettes/<module>/<Class>.<test>.json`, beside the file of the test.

    Attributes:
        cassette: another file for all tests of the class, relative to `cassettes/`.
        cassette_mode: overrides LLMCACHE_TEST_MODE.
        cassette_options: more arguments of `use_cassette`.
        player: the test's cassette; None in mode "off".
        upstream_calls: the calls of the test that the cache did not answer.
    """

    cassette: ClassVar[str | os.PathLike[str] | None] = None
    cassette_mode: ClassVar[str | None] = None
    cassette_options: ClassVar[Mapping[str, Any]] = {}
    player: Player | None = None
    upstream_calls: UpstreamCalls
    _cassette_block: CassetteBlock | None = None

    # Around setUp and all: a class whose setUp forgets super() must not ask the provider.
    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        found: unittest.TestResult | None = self._with_cassette(partial(super().run, result))
        return found

    def debug(self) -> None:
        self._with_cassette(super().debug)

    def _with_cassette(self, go: Callable[[], Any]) -> Any:
        self.upstream_calls = UpstreamCalls()
        try:
            block = self._block()
            self.player = block.open()
        except Exception as error:
            vars(self)["setUp"] = partial(_fail, error)  # where the runner reports it
            return go()
        try:
            with self.upstream_calls:
                # The first cleanup is the last to run, and the runner reports what it raises.
                self.addCleanup(block.close)
                self._cassette_block = block
                return go()
        finally:
            block.take_out()  # a skipped test has no cleanups

    def _callTestMethod(self, method: Callable[[], Any]) -> None:  # noqa: N802 - unittest's
        try:
            super()._callTestMethod(method)  # type: ignore[misc]
        except Exception as error:
            if self._cassette_block is not None:
                self._cassette_block.check(error)
            raise

    def _block(self) -> CassetteBlock:
        file = inspect.getfile(type(self))
        if self.cassette is None:
            path = places.cassette_of(file, f"{type(self).__name__}.{self._testMethodName}")
        else:
            path = places.named(file, self.cassette)
        return use_cassette(Path(path), **{"mode": self.cassette_mode, **self.cassette_options})

    # --- asserts ---

    def assert_upstream_calls(self, number: int) -> AbstractContextManager[UpstreamCalls]:
        """As `llmcache.testing.assert_upstream_calls`; for the test so far, ask
        `self.upstream_calls.assert_count(number)`."""
        return counting.assert_upstream_calls(number)

    assert_cached = staticmethod(asserts.assert_cached)
    assert_not_cached = staticmethod(asserts.assert_not_cached)
    assert_outcome = staticmethod(asserts.assert_outcome)
    assert_saved_tokens = staticmethod(asserts.assert_saved_tokens)
    assert_in_cache = staticmethod(asserts.assert_in_cache)
    assert_evicted = staticmethod(asserts.assert_evicted)


def _fail(error: Exception) -> NoReturn:
    raise error
