"""`python -m benchmarks.faults [--markdown]`: what callers see and wait for while a real part is
broken, and whether anything that was stored is lost or wrong.
"""

from __future__ import annotations

import argparse
import os
import secrets
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import django

from tests.servers import postgres
from tests.servers.ports import Missing, free_port

KNOWN = 20
CALLS = 200
RESTED = 2000
HEADINGS = (
    *("fault", "stored questions", "new questions", "added, median", "added, worst"),
    *("added at rest, median", "there afterwards", "wrong answers"),
)


@dataclass
class Seen:
    """A round of calls.

    Attributes:
        outcomes: how many calls had which; "wrong" for another question's answer.
        seconds: of each call.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def words(self) -> str:
        return ", ".join(f"{number} {outcome}" for outcome, number in self.outcomes.most_common())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="as a table of the documentation")
    options = parser.parse_args()
    with postgres.own_server() as server:
        os.environ["BENCH_DATABASE_URL"] = server.url
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.ledger_settings"
        django.setup()
        rows = [HEADINGS, ["---"] * len(HEADINGS)]
        for row in table(server):
            rows.append(row)
            if not options.markdown:
                print(" | ".join(row), flush=True)
        if options.markdown:
            for row in rows:
                print(f"| {' | '.join(row)} |")


def table(server: postgres.OwnServer) -> Iterator[Sequence[str]]:
    """A row for each fault."""
    from django.core.management import call_command

    from tests.faults.every import FAULTS
    from tests.faults.parts import Fault

    call_command("migrate", verbosity=0)
    faults: Mapping[str, Fault] = {
        **FAULTS,
        "database is locked": lambda directory: database_is_locked(server),
        "database is gone": lambda directory: database_is_gone(server),
        "broker is gone": broker_is_gone,
    }
    for name, fault in faults.items():
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
            try:
                with fault(Path(directory)) as part:
                    yield [name, *measure(part)]
            except Missing as error:
                yield [name, f"not measured: {error}", *[""] * (len(HEADINGS) - 2)]


# --- faults of parts that are no stores ---


@contextmanager
def database_is_locked(server: postgres.OwnServer) -> Iterator[object]:
    """Somebody has locked the tables of the index and of the log."""
    import psycopg

    from tests.faults.parts import Part

    with psycopg.connect(server.url) as other:
        yield Part(
            {"BACKEND": "llmcache.backends.memory.MemoryBackend"},
            lambda: other.execute("LOCK TABLE llmcache_call, llmcache_entry"),
            other.rollback,
        )


@contextmanager
def database_is_gone(server: postgres.OwnServer) -> Iterator[object]:
    """The server of the index and of the log was stopped."""
    from tests.faults.parts import Part

    yield Part({"BACKEND": "llmcache.backends.memory.MemoryBackend"}, server.stop, server.start)


@contextmanager
def broker_is_gone(directory: Path) -> Iterator[object]:
    """Answers are to be stored by Celery's workers, and its broker refuses connections."""
    from celery import Celery
    from django.test import override_settings

    from tests.faults.of_disk import DISK
    from tests.faults.parts import Part

    Celery("faults", broker=f"redis://127.0.0.1:{free_port()}/0").set_default()
    changed = override_settings(LLMCACHE_CONFIG={"WRITER": "celery"})
    yield Part({"BACKEND": DISK, "LOCATION": str(directory)}, changed.enable, changed.disable)


# --- measuring ---


def measure(part: object) -> Sequence[str]:
    """The cells of one fault's row but its name."""
    from django.db import connections
    from django.test import override_settings

    from llmcache import caching
    from llmcache.models import Call
    from llmcache.recorder import recorder
    from tests.faults.parts import Part

    assert isinstance(part, Part)
    recorder.flush()
    counted = Call.objects.count()
    with override_settings(LLMCACHE={"default": part.store}):
        known = questions(KNOWN)
        rounds = [ask(known), usual := ask(known * 5), first := ask(questions(KNOWN))]
        part.strike()
        rounds += [old := ask((known * CALLS)[:CALLS]), new := ask(questions(KNOWN))]
        store = caching.for_alias("default")
        assert store is not None
        at_rest = rested(rounds) if store.breaker.is_open else None
        part.mend()
        sleep(5.1)  # BREAKER_COOLDOWN
        rounds += [ask(known[:1]), again := ask(known)]
        store.close()
    while not recorder.flush():
        sleep(1)
    calls = sum(len(one.seconds) for one in rounds)
    connections.close_all()  # the server may have been stopped meanwhile
    rows = Call.objects.count() - counted
    added = [seconds - median(usual.seconds) for seconds in old.seconds]
    added += [seconds - median(first.seconds) for seconds in new.seconds]
    return [
        old.words(),
        new.words(),
        in_words(median(added)),
        in_words(max(added)),
        "" if at_rest is None else in_words(at_rest),
        f"{again.outcomes['hit']} of {KNOWN} entries, {rows:,} of {calls:,} rows",
        str(sum(one.outcomes["wrong"] for one in rounds)),
    ]


def questions(number: int) -> list[str]:
    """Questions that nobody has asked, each of 24 kB."""
    return [secrets.token_hex(12_000) for _ in range(number)]


def ask(texts: Sequence[str], **controls: Any) -> Seen:
    """Ask each of them once: the fake provider's answer quotes the question."""
    import llmcache

    seen = Seen()
    for text in texts:
        started = perf_counter()
        messages = [{"role": "user", "content": text}]
        response = llmcache.completion("m", messages=messages, **controls)
        seen.seconds.append(perf_counter() - started)
        right = text in (response.choices[0].message.content or "")
        seen.outcomes[response.cache.outcome if right else "wrong"] += 1
    return seen


def rested(rounds: list[Seen]) -> float:
    """Seconds that the cache adds to a call of 1 kB while it leaves its store alone: the median of
    pairs, of a call with the cache and one past it.
    """
    text = secrets.token_hex(500)
    past = {"no-cache": True, "no-store": True}
    pairs = [(ask([text]), ask([text], cache=past)) for _ in range(RESTED)]
    rounds += [one for pair in pairs for one in pair]
    return median(cached.seconds[0] - plain.seconds[0] for cached, plain in pairs)


def in_words(seconds: float) -> str:
    """Rounded; what is less than nothing is noise."""
    if seconds < 0.01:
        return f"{max(0.0, seconds) * 1e6:,.0f} us"
    return f"{seconds * 1e3:,.0f} ms"


if __name__ == "__main__":
    main()
