"""One cassette in use: which recorded call answers, what is recorded, and what went wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from llmcache import error_json, prompts
from llmcache.exceptions import InvalidRequest, UpstreamError
from llmcache.testing import cassette, credentials, matching
from llmcache.testing.asked import Asked, asked_of, digest_of
from llmcache.testing.cassette import Interaction
from llmcache.testing.problems import CassetteError, UnexpectedLiveCall, UnusedRecordings
from llmcache.upstreams.base import BaseUpstream, UpstreamRequest

Filter = Callable[[Any], Any]

MODES: Final = ("record", "replay", "off", "once", "new_episodes")
ALIASES: Final = {"all": "record", "none": "replay"}

# Recorded by an earlier test of this process: a test that shares the file adds to it.
_recorded_here: Final[set[Path]] = set()


def mode_named(name: str) -> str:
    """One of MODES, from its own name or VCR's.

    Raises:
        InvalidRequest: there is no such mode.
    """
    mode = ALIASES.get(name, name)
    if mode not in MODES:
        raise InvalidRequest.unknown("mode of a cassette", name, (*MODES, *ALIASES))
    return mode


class Noted(NamedTuple):
    """One request: as it was sent, as it may be written, and what must not be."""

    sent: dict[str, Any]
    shown: dict[str, Any]
    secrets: credentials.Secrets

    @property
    def digest(self) -> str | None:
        """Of the parameters as they were sent, where they are written otherwise."""
        sent = self.sent["params"]
        return None if self.shown["params"] == sent else digest_of(sent)


class Player:
    """A cassette and what became of the calls that were made while it was in.

    Attributes:
        path: the file; None where nothing is recorded and every call is refused.
        mode: one of MODES, but for "off".
        interactions: the recorded calls, those of this run included.
        problems: the errors that calls have met; a test that has swallowed one fails all the same.
            Clear the list where a test means to provoke them.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        mode: str,
        match_on: tuple[str, ...],
        filter_request: Filter | None,
        filter_answer: Filter | None,
        repeat: bool,
        advice: str,
    ) -> None:
        self.path = path
        self.mode = mode
        self.problems: list[CassetteError] = []
        self._match_on = match_on
        self._filter_request = filter_request
        self._filter_answer = filter_answer
        self._repeat = repeat
        self._advice = advice
        self._lock = threading.Lock()
        self._added = 0
        shared = path is not None and path.resolve() in _recorded_here
        exists = path is not None and path.exists() and not shared
        self._live = mode in ("record", "new_episodes") or (mode == "once" and not exists)
        keep = path is not None and (mode != "record" or shared)
        self.interactions = cassette.read(path) if keep and path is not None else []

    @property
    def unused(self) -> list[Interaction]:
        """The recorded calls that have not been made again."""
        return [interaction for interaction in self.interactions if not interaction.used]

    # --- calls ---

    def describe(self, upstream: BaseUpstream, request: UpstreamRequest, *, stream: bool) -> Noted:
        """The request as it is matched, and as it is written and shown.

        Raises:
            CassetteError: it cannot be written as JSON, or a filter or REDACT fails.
        """
        try:
            sent = asked_of(upstream, request, stream=stream).as_json()
            if self._filter_request is not None:
                sent = _filtered("filter_request", self._filter_request, sent)
            secrets = credentials.secrets_of(upstream, request)
            try:
                redacted = prompts.redacted(sent["params"])
            except Exception as error:
                raise CassetteError(f"REDACT failed, so nothing is written: {error!r}") from error
            shown = {**sent, "params": secrets.hide(redacted)}
            return Noted(sent, shown, secrets)
        except CassetteError as problem:
            self.problems.append(problem)
            raise

    def take(self, noted: Noted) -> Interaction | None:
        """The recorded call that answers; None where the provider is to be asked.

        Raises:
            UnexpectedLiveCall: none answers, and the provider must not be asked.
        """
        if self.mode == "record":
            return None
        with self._lock:
            same = [
                one
                for one in self.interactions
                if matching.same(one, noted.sent, noted.shown, self._match_on)
            ]
            found = next((one for one in same if not one.used), None)
            if found is None and same and self._repeat:
                found = same[-1]
            if found is not None:
                found.used += 1
                return found
        if self._live:
            return None
        problem = UnexpectedLiveCall(self._told(noted.shown, len(same)))
        self.problems.append(problem)
        raise problem

    def record(
        self,
        noted: Noted,
        *,
        answer: bytes | None = None,
        chunks: list[bytes] | None = None,
        error: UpstreamError | None = None,
        left: bool = False,
    ) -> None:
        """Note what the provider has answered to a call.

        Raises:
            CassetteError: the answer is not JSON, or a filter fails.
        """
        if error is not None and not chunks:
            chunks = None
        try:
            made = Interaction(
                noted.shown,
                params_sha256=noted.digest,
                answer=None if answer is None else self._kept(answer, noted),
                chunks=None if chunks is None else [self._kept(chunk, noted) for chunk in chunks],
                error=None if error is None else noted.secrets.hide(error_json.as_json(error)),
                left=left,
                used=1,
            )
        except CassetteError as problem:
            self.problems.append(problem)
            raise
        with self._lock:
            self.interactions.append(made)
            self._added += 1

    def _kept(self, body: bytes, noted: Noted) -> Any:
        made = cassette.parsed(body)
        if self._filter_answer is not None:
            made = _filtered("filter_answer", self._filter_answer, made)
        return noted.secrets.hide(made)

    def left_off(self, interaction: Interaction) -> UnexpectedLiveCall:
        """The error for who reads on where the recording of a stream was left."""
        problem = UnexpectedLiveCall(
            f"The recorded stream in {self.path} was left by its reader after "
            f"{len(interaction.chunks or ())} chunks, and is now read on.\n{self._advice}"
        )
        self.problems.append(problem)
        return problem

    def _told(self, shown: dict[str, Any], used: int) -> str:
        where = "no cassette is in use" if self.path is None else f"cassette {self.path}"
        lines = [f"A call would have gone to the provider ({where}, mode {self.mode!r}):", ""]
        lines.append(f"  {Asked(**shown)}")
        lines.append("")
        place = matching.nearest(self.interactions, shown)
        if used:
            times = "once" if used == 1 else f"{used} times"
            lines.append(f"It was recorded {times}, and each recording has answered already.")
            lines.append("Pass repeat=True if the last one is to answer again.")
        elif place is None:
            lines.append("Nothing is recorded." if self.path else "Nothing can answer it.")
        else:
            near = self.interactions[place]
            state = "used" if near.used else "unused"
            lines.append(
                f"The nearest of {len(self.interactions)} recorded is number {place + 1}, {state}; "
                "it differs (recorded -> now):"
            )
            found = matching.differences(near.request, shown)
            lines += [f"  {line}" for line in found or ["only where texts are redacted"]]
        return "\n".join([*lines, "", self._advice])

    # --- the end ---

    def save(self) -> None:
        """Write what was recorded, if anything was."""
        if self.path is not None and self._added:
            cassette.write(self.path, self.interactions)
            _recorded_here.add(self.path.resolve())

    def require_all_used(self) -> None:
        """Fail if a recorded call was not made again.

        Raises:
            UnusedRecordings: so it is; they are listed.
        """
        if self.unused:
            numbered = enumerate(self.interactions, 1)
            lines = [
                f"  {number}: {Asked(**one.request)}" for number, one in numbered if not one.used
            ]
            raise UnusedRecordings(
                "\n".join(
                    [f"These recorded calls in {self.path} were not made:", *lines, self._advice]
                )
            )


def _filtered(name: str, function: Filter, value: Any) -> Any:
    found = function(value)
    if not isinstance(found, type(value)):
        raise CassetteError(f"{name} must return what is to be written, not {found!r:.80}.")
    return found
