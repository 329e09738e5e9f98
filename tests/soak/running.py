"""One run of the soak, from the first part started to the verdict."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.soak import accounts, parts
from tests.soak.accounts import AFTERWARDS, Accounts
from tests.soak.chaos import Chaos, Done
from tests.soak.gauges import Course, Gauges
from tests.soak.load import EVICTED_WITHIN, PATIENCE, Client, Load
from tests.soak.parts import Parts

_QUIET: float = 60.0  # seconds until all that was begun must have ended


@dataclass
class Result:
    """What came of a run.

    Attributes:
        problems: everything that should not have happened; none if all is well.
        counts: unusual events of the processes that lived to the end, by name.
    """

    accounts: Accounts
    courses: list[Course]
    load: Load
    counts: dict[str, int]
    problems: list[str]


def run(
    seconds: float,
    *,
    clients: int = 10,
    pause: float = 6.0,
    longest: float = 60.0,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> Result:
    """Run the soak.

    Args:
        clients: who ask one question after the other, beside two who do other things.
        pause, longest: seconds between two things done to the parts, and that one may last.
        say: is told what is done to the parts.

    Raises:
        ImportError, Missing: a part is not installed.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        with parts.running(Path(name)) as site:
            work, gauges = Load(site, clients, seed), Gauges(site, min(2.0, seconds / 30))
            chaos = Chaos(site, say)
            work.start()
            gauges.start()
            try:
                chaos.rounds(seconds, pause, longest)
            finally:
                work.stop()
                gauges.stop()
            counts, problems = _rest(site)
            site.stop()
            found = accounts.gather(site, work.asked, chaos.done)
            logs = site.logs()
        problems += work.broken + found.problems() + _staff(work, chaos.done) + _logged(logs)
        problems += [text for course in gauges.courses() for text in course.problems()]
        return Result(found, gauges.courses(), work, counts, problems)


def _rest(site: Parts) -> tuple[dict[str, int], list[str]]:
    """What the web servers' processes counted, once they hold nothing; or what they do hold."""
    client, last = Client(site), {}

    def is_quiet() -> bool:
        for asynchronous in (False, False, False, True):
            said = client.inside(asynchronous)
            last[said["process"]] = said
        living = site.web_processes()
        return living <= last.keys() and not any(any(last[p]["holds"].values()) for p in living)

    quiet = parts.until(is_quiet, _QUIET)
    counts: dict[str, int] = {}
    for said in last.values():
        for name, number in said["counts"].items():
            counts[name] = counts.get(name, 0) + number
    problems = [] if quiet else [f"in the end they hold {last}"]
    return counts, problems


def _staff(work: Load, done: list[Done]) -> list[str]:
    """What staff were refused though nothing was away, and answers that outlived their eviction."""

    def away(began: float, *parts: str) -> bool:
        return any(
            each.act.part in parts and each.began - PATIENCE <= began <= each.ended + AFTERWARDS
            for each in done
        )

    refused = [
        f"staff got {status} {said}"
        for began, status, said in work.staff
        if (status == 503 and not away(began, "postgres"))
        or (status == 0 and not away(began, "gunicorn"))
        or (said.get("failed") and not away(began, "redis"))
        or status not in (0, 200, 503)
    ]
    late = [
        f"{waited:.0f} s after its eviction an answer was served"
        for waited in work.evictions
        if waited > EVICTED_WITHIN
    ]
    return refused + late


def _logged(logs: dict[str, str]) -> list[str]:
    """What a log has that nobody should find there."""
    return [
        f"{name} has a traceback: {text[max(0, at - 300) : at + 1500]}"
        for name, text in logs.items()
        if name in ("gunicorn", "uvicorn")
        and (at := text.find("Traceback (most recent call last)")) >= 0
    ]
