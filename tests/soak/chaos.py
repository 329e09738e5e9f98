"""What is done to the parts while clients ask, and when."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.soak.parts import Parts

Step = Callable[[Parts], object]


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that happens to a part.

    Attributes:
        part: what it happens to.
        lasts: seconds between its first step and its second, which brings the part back.
        replaces_workers: whether the web server's processes are others afterwards.
        cuts: whether it may cut clients off in the middle of their requests.
    """

    name: str
    part: str
    first: Step
    second: Step | None = None
    lasts: float = 0.0
    replaces_workers: bool = False
    cuts: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """An act that is over: unix seconds of its begin and its end."""

    act: Act
    began: float
    ended: float


ROUND: Final = (
    Act("Redis hangs", "redis", Parts.hang_redis, Parts.wake_redis, 3.0),
    Act("gunicorn is reloaded", "gunicorn", Parts.reload_gunicorn, replaces_workers=True),
    Act("Redis is killed", "redis", Parts.kill_redis, Parts.start_redis, 2.0),
    Act("Celery is killed", "celery", Parts.kill_celery, Parts.start_celery, 2.0),
    Act(
        "a gunicorn worker is killed",
        "gunicorn",
        Parts.kill_gunicorn_worker,
        replaces_workers=True,
        cuts=True,
    ),
    Act("Celery is restarted", "celery", Parts.restart_celery),
    Act(
        "PostgreSQL is stopped",
        "postgres",
        lambda parts: parts.database.stop(),
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
        """Act for so many seconds.

        In the second half of the time the web server's processes stay as they are: so they live
        long enough to see whether anything in them grows.

        Args:
            pause: seconds between two acts.
            longest: that an act may last.
        """
        end, half = self._begin + seconds, self._begin + seconds / 2
        for act in self._acts():
            lasts = min(act.lasts, longest)
            if act.replaces_workers and seconds > 120 and time.monotonic() > half:
                continue
            if time.monotonic() + pause + lasts + pause > end:
                break
            time.sleep(pause)
            self._do(act, lasts)
        time.sleep(max(0.0, end - time.monotonic()))

    def _acts(self) -> Iterator[Act]:
        while True:
            yield from ROUND

    def _do(self, act: Act, lasts: float) -> None:
        began = time.time()
        act.first(self._parts)
        if act.second is not None:
            time.sleep(lasts)
            act.second(self._parts)
        ended = time.time()
        self.done.append(Done(act, began, ended))
        at = time.monotonic() - self._begin - (ended - began)
        self._say(f"{at:6.1f} s  {act.name}; over after {ended - began:.1f} s")
