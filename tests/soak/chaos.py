"""What is done to the parts while clients ask, and when."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.soak.load import Client
from tests.soak.parts import Parts, until

Step = Callable[[Parts], object]


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that happens to a part.

    Attributes:
        part: what it happens to.
        lasts: seconds between its first step and its second, which brings the part back.
        replaces: whether processes of the site are others afterwards.
        cuts: whether it may cut clients off in the middle of their requests.
    """

    name: str
    part: str
    first: Step
    second: Step | None = None
    lasts: float = 0.0
    replaces: bool = False
    cuts: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """An act that is over: unix seconds of its begin and its end."""

    act: Act
    began: float
    ended: float


def _stop_postgres(parts: Parts) -> None:
    """Once every web process knows every key: one that it has never seen, it cannot check without
    the database."""
    client = Client(parts)
    known: set[tuple[int, str]] = set()

    def all_know() -> bool:
        for token in parts.tokens.values():
            for asynchronous in (False, True):
                known.add((client.inside(asynchronous, token)["process"], token))
        return known >= set(itertools.product(parts.web_processes(), parts.tokens.values()))

    until(all_know, 30)
    parts.database.stop()


ROUND: Final = (
    Act("Redis hangs", "redis", Parts.hang_redis, Parts.wake_redis, 3.0),
    Act("gunicorn is reloaded", "gunicorn", Parts.reload_gunicorn, replaces=True),
    # Celery's worker may end with it.
    Act("Redis is killed", "redis", Parts.kill_redis, Parts.start_redis, 2.0, replaces=True),
    Act("Celery is killed", "celery", Parts.kill_celery, Parts.start_celery, 2.0, replaces=True),
    Act(
        "a gunicorn worker is killed",
        "gunicorn",
        Parts.kill_gunicorn_worker,
        replaces=True,
        cuts=True,
    ),
    Act("Celery is restarted", "celery", Parts.restart_celery, replaces=True),
    Act(
        "PostgreSQL is stopped",
        "postgres",
        _stop_postgres,
        lambda parts: parts.database.start(),
        8.0,
    ),
)
"""One round. Web workers are killed long after the database was away: what a process still has to
write is lost with it, which is no more than a moment's worth then."""


class Chaos:
    """Does one act after the other.

    Attributes:
        done: those that are over.
    """

    def __init__(self, parts: Parts, say: Callable[[str], None]) -> None:
        self.done: list[Done] = []
        self._parts, self._say = parts, say
        self._begin = time.monotonic()

    def rounds(self, seconds: float, pause: float, longest: float) -> None:
        """Act for so many seconds, and for one round at least.

        In the second half of a long time the site's processes stay as they are: so they live long
        enough to see whether anything in them grows.

        Args:
            pause: seconds between two acts.
            longest: that an act may last.
        """
        end, half = self._begin + seconds, self._begin + seconds / 2
        for act in self._acts():
            lasts = min(act.lasts, longest)
            if act.replaces and seconds > 120 and time.monotonic() > half:
                continue
            whole = len(self.done) >= len(ROUND)
            if whole and time.monotonic() + pause + lasts + pause > end:
                break
            self._wait(pause)
            self._do(act, lasts)
        self._wait(end - time.monotonic())

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._parts.revive_celery():
                self._say(f"{self._now:6.1f} s  Celery had ended by itself and is started again")
            time.sleep(min(left, 0.2))

    @property
    def _now(self) -> float:
        return time.monotonic() - self._begin

    def _acts(self) -> Iterator[Act]:
        while True:
            yield from ROUND

    def _do(self, act: Act, lasts: float) -> None:
        began = time.time()
        act.first(self._parts)
        if act.second is not None:
            self._wait(lasts)
            act.second(self._parts)
        ended = time.time()
        self.done.append(Done(act, began, ended))
        at = self._now - (ended - began)
        self._say(f"{at:6.1f} s  {act.name}; over after {ended - began:.1f} s")
