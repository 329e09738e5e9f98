"""A site of several processes with one database, one store, a broker and real Celery workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.servers.provider import Provider
from tests.servers.redis import RedisServer

ROOT = Path(__file__).parent.parent.parent
PREAMBLE = """
import django, json, sys, time
import tests.servers.celery_app  # as a project's __init__ does
django.setup()
import llmcache
from llmcache.recorder import recorder
from llmcache.models import Call, Entry, HourlyStat, RecordBatch

def ask(text, **cache):
    messages = [{"role": "user", "content": text}]
    return llmcache.completion("m", messages=messages, cache=cache)

def say(value):
    print(json.dumps(value))
"""


@dataclass
class Site:
    """The site's environment, and what to do in processes of it.

    Attributes:
        config: its LLMCACHE_CONFIG.
        database: an entry of DATABASES; SQLite if it is empty.
        django_tasks: whether it has a worker of Django's own tasks, in its database.
    """

    directory: Path
    broker: str
    provider: str
    config: dict[str, Any] = field(default_factory=dict)
    database: dict[str, Any] = field(default_factory=dict)
    django_tasks: bool = False
    queue: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.servers.worker_settings",
            "SITE_DIRECTORY": str(self.directory),
            "SITE_DATABASE": json.dumps(self.database),
            "SITE_BROKER": self.broker,
            "SITE_PROVIDER": self.provider,
            "SITE_CONFIG": json.dumps(self.config),
            "SITE_QUEUE": self.queue,
            "SITE_TASKS": "1" if self.django_tasks else "",
        }

    def run(self, code: str) -> Any:
        """Run code in a process of its own, after PREAMBLE; what it says last."""
        done = subprocess.run(
            [sys.executable, "-c", PREAMBLE + textwrap.dedent(code)],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        return json.loads(lines[-1]) if lines else None

    def manage(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a management command in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            **options,
        )

    def migrate(self) -> None:
        """Make the tables of its database."""
        done = self.manage("migrate", "--verbosity", "0")
        assert done.returncode == 0, done.stderr

    def until(self, code: str, right: Callable[[Any], bool], seconds: float = 30) -> Any:
        """Run code again and again until what it says is right."""
        end = time.monotonic() + seconds
        while not right(said := self.run(code)):
            assert time.monotonic() < end, f"it still says {said!r}"
        return said

    @contextmanager
    def worker(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A worker of one child process, which ends in Celery's own way when the block does."""
        log = self.directory / f"worker-{uuid.uuid4().hex}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "tests.servers.celery_app", "worker"),
                    *("--concurrency=1", "--loglevel=INFO", "--without-gossip"),
                    *("--without-mingle", "--without-heartbeat", *arguments),
                ],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                self._wait_until_ready(process, log)
                yield process
                end_worker(process)
            finally:
                process.kill()
                process.wait()

    @property
    def logs(self) -> str:
        """What its workers have logged so far."""
        return "".join(path.read_text() for path in self.directory.glob("worker-*.log"))

    def _wait_until_ready(self, process: subprocess.Popen[bytes], log: Path) -> None:
        end = time.monotonic() + 60
        while b" ready." not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)


def end_worker(process: subprocess.Popen[bytes]) -> None:
    """A warm shutdown: what the worker has begun, it ends."""
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)


@pytest.fixture
def celery_site(tmp_path: Path, redis_server: RedisServer, provider: Provider) -> Site:
    """A migrated site; the test sets its `config` and starts its workers."""
    if find_spec("celery") is None:
        from tests.conftest import missing

        missing("Celery", "the package celery is not installed")
    site = Site(tmp_path, f"{redis_server.url}/0", provider.base_url)
    site.migrate()
    return site
