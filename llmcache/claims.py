"""One leader among all processes that share a store: who has the claim asks upstream, the others
wait for its answer in the store.

A claim is a token with an end in the store itself, renewed while its owner lives; when the owner is
killed it ends, and one of those who wait takes it over. An owner whose call failed, or whose answer
is not to be shared, leaves a sealed note in its place, so that those who wait need not ask in vain.

A store that fails or has no claims costs nothing but this agreement: every process asks for itself.
"""

from __future__ import annotations

import os
import random
import secrets
import threading
from collections.abc import Iterator, Mapping
from hashlib import sha256
from time import monotonic, time
from typing import Any, Final

from llmcache import conf, error_json, events, task_queue, threads
from llmcache.backends.base import CLAIM, BaseBackend
from llmcache.envelope import EnvelopeError, seal, unseal
from llmcache.exceptions import Resting, UpstreamError
from llmcache.singleflight import Unshared
from llmcache.store import Store

_FIRST_PAUSE: Final = 0.004
_LONGEST_PAUSE: Final = 0.1
_NOTE_STAYS: Final = 2.0
"""Seconds: those who wait look every tenth of one."""
_WORKER_TAKES: Final = (1.0, 10.0)
"""Seconds that a worker has to store what it was sent, before others stop waiting for it: at the
least, and at the most. In between as long as the provider took: then asking again is no slower."""
_NOTE: Final = "note "
"""Before the name in the seal of a note: none opens as an entry, nor the reverse."""
_NOTE_LASTS: Final = 300.0
"""Seconds: so far may the machines' clocks be apart."""


class Claim:
    """This process's right to ask upstream on behalf of all.

    Attributes:
        name: what is claimed: a digest.
    """

    __slots__ = ("_since", "backend", "name", "store", "token")

    def __init__(self, store: Store, backend: BaseBackend, name: str) -> None:
        self.store = store
        self.backend = backend
        self.name = name
        self.token = CLAIM + secrets.token_bytes(16)
        self._since = monotonic()

    def took(self, held: bytes) -> bool:
        """Whether what the store holds is this claim; if so, it is renewed from now on."""
        if held != self.token:
            return False
        self._since = monotonic()
        _keeper.keep(self)
        return True

    @property
    def is_kept(self) -> bool:
        """Whether it is this process's, and renewed."""
        return _keeper.has(self)

    def end(self, error: BaseException | None = None) -> None:
        """Give the claim up: the answer is stored, or the call ended in an error."""
        _keeper.drop(self)
        note, stays = self._note(error)
        try:
            self.backend.end_claim(self.name, self.token, note, stays)
        except Exception as failure:
            failed(self.store, failure)

    async def aend(self, error: BaseException | None = None) -> None:
        """As `end`."""
        _keeper.drop(self)
        note, stays = self._note(error)
        try:
            await self.backend.aend_claim(self.name, self.token, note, stays)
        except Exception as failure:
            failed(self.store, failure)

    def _note(self, error: BaseException | None) -> tuple[bytes | None, float]:
        said: dict[str, Any]
        if isinstance(error, UpstreamError):
            said = told(error)
        elif isinstance(error, Unshared):
            said = {"unshared": True}
        elif error is None and task_queue.chosen() is not None:
            said = {"written_by_a_worker": True}
        else:
            return None, 0.0
        try:
            note = seal(_NOTE + self.name, b"", created=time(), header=said)
        except EnvelopeError:  # there is no key to encrypt it: those who wait ask for themselves
            return None, 0.0
        if "written_by_a_worker" not in said:
            return note, _NOTE_STAYS
        least, most = _WORKER_TAKES
        return note, min(most, max(least, monotonic() - self._since))


def failed(store: Store, error: Exception) -> None:
    """Count and log that a claim could not be made, looked at or ended."""
    events.count("claim_error")
    if isinstance(error, Resting):
        return
    store.write_breaker.failed()
    events.logger.warning(
        "Alias %r could not say who makes an answer: %s: %s",
        store.alias,
        type(error).__name__,
        error,
    )


def pauses(patience: float) -> Iterator[float]:
    """Seconds to wait between two looks, until patience is at its end."""
    end, pause = monotonic() + patience, _FIRST_PAUSE
    while monotonic() < end:
        yield pause * (0.5 + random.random())  # noqa: S311
        pause = min(_LONGEST_PAUSE, pause * 1.5)


def lease() -> float:
    """Seconds after which the claim of a process that has died ends."""
    return conf.config().single_flight_lease


def name_of(key: object) -> str:
    """What to claim for the items of one embedding call, or another flight's key."""
    return sha256(repr(key).encode()).hexdigest()


def is_claim(held: bytes) -> bool:
    """Whether the value is a token, and not a note."""
    return held.startswith(CLAIM)


def read(name: str, note: bytes) -> bool:
    """What a leader of another process has left to those who wait.

    Returns:
        Whether to go on waiting: a worker is about to store the answer.

    Raises:
        Unshared: each is to ask for itself; also where the note cannot be read.
        UpstreamError: the leader's error, which is theirs too.
    """
    try:
        opened = unseal(_NOTE + name, note)
    except EnvelopeError:
        raise Unshared from None
    if time() - opened.created > _NOTE_LASTS:
        raise Unshared  # somebody has put back what was over long ago
    said = opened.header
    if said.get("written_by_a_worker"):
        return True
    raise error_in(said) or Unshared()


def told(error: UpstreamError) -> dict[str, Any]:
    """An error of the provider's, for other processes."""
    return {"error": error_json.as_json(error)}


def error_in(said: Mapping[str, Any]) -> UpstreamError | None:
    """The error that another process has told of; None too if its version is another."""
    try:
        return error_json.from_json(said["error"])
    except (KeyError, TypeError):
        return None


class _Keeper:
    """Renews the claims of this process, by one thread that runs while there are any."""

    def __init__(self) -> None:
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._claims: set[Claim] = set()
        # Re-entrant: the collector of garbage may end a forgotten stream at any moment.
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def keep(self, claim: Claim) -> None:
        with self._lock:
            self._claims.add(claim)
            if self._thread is None:
                self._thread = threads.started(self._run, "claims")

    def has(self, claim: Claim) -> bool:
        return claim in self._claims

    def drop(self, claim: Claim) -> None:
        with self._lock:
            self._claims.discard(claim)

    def _run(self) -> None:
        while True:
            self._wake.wait(lease() / 3)
            with self._lock:
                if not self._claims:
                    self._thread = None
                    return
            self._renew_all()

    def _renew_all(self) -> None:
        with self._lock:
            claims = list(self._claims)
        for claim in claims:
            self._renew(claim)

    def _renew(self, claim: Claim) -> None:
        if claim.store.is_resting:
            return
        try:
            still = claim.backend.renew_claim(claim.name, claim.token, lease())
        except Exception as error:
            failed(claim.store, error)
        else:
            if not still:
                self.drop(claim)


_keeper = _Keeper()
os.register_at_fork(after_in_child=_keeper._start_afresh)
