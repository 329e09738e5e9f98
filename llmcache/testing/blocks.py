"""`use_cassette`: a cassette for a block, a function or a test, and the rules of its ending."""

from __future__ import annotations

import copy
import functools
import inspect
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar, cast

from llmcache.testing import command_line, layers, matching, player
from llmcache.testing.isolation import isolated_cache
from llmcache.testing.player import Filter, Player
from llmcache.testing.playing import CassetteLayer

T = TypeVar("T", bound=Callable[..., Any])

DEFAULT_MATCH: Final = matching.PARTS
_ADVICE: Final = (
    "To record it: LLMCACHE_TEST_MODE=record (or new_episodes, which keeps what is recorded)."
)
_NO_CASSETTE: Final = (
    "Record it: with the fixture llmcache_cassette, the marker llmcache, LLMCacheTestMixin or "
    "use_cassette. Or answer it with llmcache_fake."
)
_OFF: Final = ("", "0", "false", "no")


def use_cassette(
    path: str | os.PathLike[str],
    *,
    mode: str | None = None,
    match_on: Iterable[str] = DEFAULT_MATCH,
    filter_request: Filter | None = None,
    filter_answer: Filter | None = None,
    strict: bool | None = None,
    repeat: bool = False,
    chunk_delay: float = 0.0,
    isolated: bool = True,
    advice: str = _ADVICE,
) -> CassetteBlock:
    """A block in which providers' answers come from a file, or are recorded into it.

    Use it with `with`, with `async with`, or as a decorator of a sync or async function.

    Args:
        path: of the JSON file; a relative one begins at the working directory.
        mode: "replay" (VCR's "none"), "record" ("all"), "once", "new_episodes" or "off"; otherwise
            that of pytest's `--llmcache-record`, then of LLMCACHE_TEST_MODE, then "replay".
        match_on: what makes two calls the same: names of "kind", "model", "provider", "stream" and
            "params", or paths such as "params.messages".
        filter_request: takes a request as the cassette would have it and returns it changed; both
            what is recorded and what is looked for go through it.
        filter_answer: takes an answer, or one chunk of a stream, and returns what is to be written.
        strict: fail if a recorded call was not made again.
        repeat: whether the last of equal recordings answers again when all were used.
        chunk_delay: seconds between the chunks of replayed streams.
        isolated: whether the block begins with an empty cache, as `isolated_cache`.
        advice: the last line of errors: how to record.

    Raises:
        InvalidRequest: a wrong mode, or a wrong name in match_on.
    """
    return CassetteBlock(
        Path(path),
        mode=None if mode is None else player.mode_named(mode),
        strict=strict,
        chunk_delay=chunk_delay,
        isolated=isolated,
        match_on=matching.check(match_on),
        filter_request=filter_request,
        filter_answer=filter_answer,
        repeat=repeat,
        advice=advice,
    )


def block_live_calls() -> CassetteBlock:
    """A block in which every call that would reach a provider fails; those to a FakeUpstream, or to
    another that is not `is_live`, do not. A cassette put in inside of it answers as always."""
    return CassetteBlock(
        None,
        mode="replay",
        strict=False,
        chunk_delay=0.0,
        isolated=False,
        match_on=(),
        filter_request=None,
        filter_answer=None,
        repeat=False,
        advice=_NO_CASSETTE,
    )


class CassetteBlock:
    """What `use_cassette` returns. `with` gives the Player, or None in mode "off".

    Attributes:
        player: the cassette in use, once the block is open.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        mode: str | None,
        strict: bool | None,
        chunk_delay: float,
        isolated: bool,
        **playing: Any,
    ) -> None:
        self._path = path
        self._mode = mode
        self._strict = strict
        self._chunk_delay = chunk_delay
        self._isolated = isolated
        self._playing = playing
        self._undo = ExitStack()
        self._told = False
        self._failed = False
        self._is_open = False
        self.player: Player | None = None

    def open(self) -> Player | None:
        """Put the cassette in.

        Raises:
            CassetteError: the file cannot be read.
            InvalidRequest: LLMCACHE_TEST_MODE is no mode.
        """
        mode = self._mode or command_line.mode or os.environ.get("LLMCACHE_TEST_MODE")
        mode = player.mode_named(mode or "replay")
        if mode != "off":
            self.player = Player(self._path, mode=mode, **self._playing)
        with ExitStack() as undo:
            if self._isolated:
                undo.enter_context(isolated_cache())
            layer = CassetteLayer(self.player, self._chunk_delay)
            layers.push(layer)
            undo.callback(layers.remove, layer)
            self._undo = undo.pop_all()
        self._is_open = True
        return self.player

    def check(self, error: BaseException | None = None, *, strict: bool = False) -> None:
        """Raise what the code under test has swallowed, once.

        Args:
            error: what the test has raised itself.
            strict: also look for recorded calls that were not made, if the block is strict.

        Raises:
            CassetteError: a call met an error, and the test went on or failed of something else.
        """
        self._failed = self._failed or error is not None
        found = self.player
        if found is None or self._told:
            return
        if found.problems:
            self._told = True
            if error not in found.problems:
                raise found.problems[0] from error
        elif strict and not self._failed and self._is_strict():
            self._told = True
            found.require_all_used()

    def _is_strict(self) -> bool:
        if self._strict is not None:
            return self._strict
        given = os.environ.get("LLMCACHE_TEST_STRICT", "")
        return command_line.strict or given.lower() not in _OFF

    def take_out(self) -> None:
        """Take the cassette out and write what was recorded; a second time nothing happens.

        What was recorded is written whether the test has passed or not: it is what the provider
        has said, and was paid for.
        """
        if self._is_open:
            self._is_open = False
            self._undo.close()
            if self.player is not None:
                self.player.save()

    def close(self, error: BaseException | None = None) -> None:
        """`take_out`, and `check` for both swallowed errors and unused recordings."""
        self.take_out()
        self.check(error, strict=True)

    def __enter__(self) -> Player | None:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(error)

    async def __aenter__(self) -> Player | None:
        return self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(error)

    def __call__(self, function: T) -> T:
        """The function, with the cassette in while it runs."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with copy.copy(self):  # each call opens a block of its own
                    return await function(*args, **kwargs)

            return cast(T, awaited)

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with copy.copy(self):  # each call opens a block of its own
                return function(*args, **kwargs)

        return cast(T, called)
