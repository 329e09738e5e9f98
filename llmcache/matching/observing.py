"""What matched, noted off the caller's way: one row a pair, with what an audit found.

A bounded buffer and one thread a process write the rows, every FLUSH_INTERVAL; what does not fit is
counted and lost. In a test run no thread starts: `flush` writes in the test's own transaction.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.db import DatabaseError, IntegrityError, connections, router, transaction
from django.db.models import F

from llmcache import conf, events, prompts, threads
from llmcache.matching.answers import agree
from llmcache.matching.search import Match
from llmcache.models import MatchedPair
from llmcache.recorder import in_test_run, recorder
from llmcache.text import ALIAS_LENGTH, clean, name_of

AUDITOR: Final = "audit"
_MOST: Final = 1000
_AT_EXIT: Final = 5.0  # seconds that the last writing may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One match.

    Attributes:
        at: unix seconds.
        how: a value of `MatchedPair.How`.
        kind, model: of the call.
        answers: the stored answer and the new one, as whole JSON bodies, where the model was called
            all the same; else None.
    """

    at: float
    how: str
    alias: str
    kind: str
    model: str
    match: Match
    answers: tuple[bytes, bytes] | None = None


def write(seen: Observation, times: int = 1) -> MatchedPair:
    """Write an observation; of two answers, say whether they agree.

    Args:
        times: how often the pair was seen.

    Raises:
        DatabaseError: it could not be written.
    """
    match, same = seen.match, None
    if seen.answers is not None:
        try:
            same = agree(seen.kind, *seen.answers, match.matcher.embedder)
        except Exception as error:
            events.warn_once("audit_error", "Two answers could not be compared: %r", error)
    asked, all_asked = prompts.kept(match.asked)
    stored, all_stored = prompts.kept(match.stored)
    using = router.db_for_write(MatchedPair)
    rows = MatchedPair.objects.using(using)
    at = datetime.fromtimestamp(seen.at, UTC)
    key = {"alias": clean(seen.alias, ALIAS_LENGTH), "pair": match.pair}
    new = {
        "created": at,
        "seen": at,
        "digest": match.digest,
        "model": name_of(seen.model),
        "asked": asked,
        "stored": stored,
        "whole": all_asked and all_stored and match.alone,
        "similarity": match.similarity,
        "how": seen.how,
        "times": times,
        "same": same,
        "decided_by": "" if same is None else AUDITOR,
    }
    try:
        with transaction.atomic(using=using):
            row, is_new = rows.get_or_create(**key, defaults=new)
    except IntegrityError:
        row, is_new = rows.get(**key), False
    if not is_new:
        rows.filter(pk=row.pk).update(seen=at, times=F("times") + times, digest=match.digest)
        if same is not None:  # what staff have said stays
            undecided = rows.filter(pk=row.pk, decided_by__in=("", AUDITOR))
            undecided.update(same=same, decided_by=AUDITOR, how=seen.how)
        row.refresh_from_db()
    return row


class Observer:
    """The buffer, in which a pair is once, and its thread: started on first use, and afresh in a
    forked child.
    """

    def __init__(self) -> None:
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._waiting: dict[tuple[str, str], tuple[Observation, int]] = {}
        self._thread: threading.Thread | None = None
        self._is_alone = False  # there could be no thread
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._stop = threading.Event()

    def put(self, seen: Observation) -> None:
        """Note a match. Never waits for the database and never raises."""
        if not recorder.is_on:
            return
        key = seen.alias, seen.match.pair
        with self._lock:
            before, times = self._waiting.get(key, (seen, 0))
            if not times and len(self._waiting) >= _MOST:
                events.count("match_lost")
                return
            # Two answers to compare say more than that the pair was served.
            kept = before if before.answers and not seen.answers else seen
            self._waiting[key] = kept, times + 1
            if self._thread is None and not in_test_run():
                self._thread = threads.started(self._run, "matches")
                self._is_alone = self._thread is None

    def flush(self) -> None:
        """Write all that was noted before."""
        with self._writing:
            with self._lock:
                waiting, self._waiting = self._waiting, {}
            for seen, times in waiting.values():
                _write_guarded(seen, times)

    def _run(self) -> None:
        while not self._stop.wait(conf.config().flush_interval):
            if self._waiting:
                self.flush()
                connections.close_all()
        self.flush()
        connections.close_all()

    def stop(self) -> None:
        """Write what is left and end the thread; the recorder calls it when the process ends."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._stop.set()
            thread.join(timeout=_AT_EXIT)
        elif self._is_alone:
            self.flush()


def _write_guarded(seen: Observation, times: int) -> None:
    try:
        write(seen, times)
    except DatabaseError as error:
        events.count("match_lost")
        events.warn_once("match_error", "Matches cannot be written: %s", error)
    except Exception as error:
        events.warn_once("match_error", "A match could not be noted: %r", error)


observer: Final = Observer()
flush: Final = observer.flush
recorder.companions.append(observer.stop)
os.register_at_fork(after_in_child=observer._start_afresh)
