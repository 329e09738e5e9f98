"""Processes of a site: its settings, code that runs there, and what its tables say afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.site import ROOT

PREAMBLE = """
import json, os, sys, threading, time
import django
django.setup()
import llmcache
from llmcache import events
from llmcache.recorder import recorder

def ask(text, model="m", **cache):
    messages = [{"role": "user", "content": text}]
    return llmcache.completion(model, messages=messages, cache=cache).cache.outcome

def say(value):
    print(json.dumps(value), flush=True)

def heard():
    return sys.stdin.readline().strip()
"""
COUNTS = """
from llmcache.models import Call, Entry, HourlyStat
stats = list(HourlyStat.objects.values_list("outcome", "calls"))
say({
    "calls": Call.objects.count(),
    "different": Call.objects.values("digest", "created").distinct().count(),
    "entries": Entry.objects.count(),
    "counted": sum(calls for outcome, calls in stats if outcome != "lost"),
    "lost": sum(calls for outcome, calls in stats if outcome == "lost"),
})
"""


@dataclass
class Site:
    """A site that several processes serve.

    Attributes:
        databases: its DATABASES.
        more: other keys of SITE: see `site_settings`.
    """

    databases: dict[str, Any]
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.ledger.site_settings",
            "SITE": json.dumps({"databases": self.databases, **self.more}),
        }

    def start(self, code: str) -> Process:
        """Code in a process of its own, after PREAMBLE."""
        return self.command(sys.executable, "-c", PREAMBLE + textwrap.dedent(code))

    def command(self, *command: str) -> Process:
        """A program of the site's, in its environment."""
        return Process(
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )

    def run(self, code: str) -> Any:
        """Run code to its end; what it says last, and its errors as `errors` of it."""
        return self.start(code).end()

    def migrate(self) -> None:
        """Make the tables."""
        self.command(sys.executable, "-m", "django", "migrate", "--verbosity", "0").end()

    def counts(self) -> dict[str, int]:
        """What the tables say."""
        found: dict[str, int] = self.run(COUNTS)
        return found

    def until(self, right: Callable[[dict[str, int]], bool], seconds: float = 30) -> dict[str, int]:
        """What the tables say once that is right."""
        end = time.monotonic() + seconds
        while not right(found := self.counts()):
            assert time.monotonic() < end, found
        return found


@dataclass
class Process:
    """A process that one talks with by lines."""

    popen: subprocess.Popen[str]
    said: list[Any] = field(default_factory=list)
    errors: str = ""

    def hear(self) -> Any:
        """The next thing that it says."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if not line:
            raise AssertionError(f"it has ended: {self.popen.communicate(timeout=60)[1]}")
        self.said.append(json.loads(line))
        return self.said[-1]

    def tell(self, word: str = "go") -> None:
        """Let it go on."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(f"{word}\n")
        self.popen.stdin.flush()

    def end(self) -> Any:
        """Wait for its end; what it said last."""
        out, self.errors = self.popen.communicate(timeout=60)
        assert self.popen.returncode == 0, self.errors
        self.said += [json.loads(line) for line in out.splitlines()]
        return self.said[-1] if self.said else None

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        self.popen.kill()
        self.popen.communicate()


@contextmanager
def ending(*processes: Process) -> Iterator[None]:
    """None of them outlives the block."""
    try:
        yield
    finally:
        for process in processes:
            if process.popen.poll() is None:
                process.kill()


def sqlite_site(directory: Path, **more: Any) -> Site:
    """A migrated site with a SQLite file."""
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(directory / "site.sqlite3")}
    site = Site({"default": database}, more)
    site.migrate()
    return site
