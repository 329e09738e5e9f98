"""Hits behind real web servers: Gunicorn with two workers, of threads and of event loops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import psutil

from benchmarks import load
from benchmarks.load import Target
from benchmarks.questions import question
from benchmarks.rates import Contender, Row, Sample, compete
from tests.servers.ports import free_port, wait_for
from tests.servers.redis import RedisServer

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
KINDS = {
    "threads": ["django.core.wsgi:get_wsgi_application()", "--threads=4"],
    "event loops": [
        "django.core.asgi:get_asgi_application()",
        "--worker-class=uvicorn.workers.UvicornWorker",
    ],
}
ROWS = {
    "threads": {"a view": ("cached", "page", "bare")},
    "event loops": {
        "a view": ("cached", "page", "bare"),
        "an async view": ("acached", "page", "abare"),
    },
}
"""By kind of worker: ours, Django's `cache_page`, and the view itself."""


class Site:
    """The site of `benchmarks.site_urls`, running."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], token: str) -> None:
        self._base = f"http://127.0.0.1:{port}/"
        self._process = psutil.Process(process.pid)
        self.token = token

    def under_load(self, target: Target) -> Contender:
        """A contender: the site's answers to one request."""
        for _ in range(20):  # on connections of their own, so that each worker gets some
            load.ask(self._base, target)

        def run() -> Sample:
            before = self._busy()
            told = load.put(self._base, target)
            return Sample(
                rate=told["requests"] / told["seconds"],
                median=told["median"],
                slowest=told["slowest"],
                processor=(self._busy() - before) / told["requests"],
            )

        return run

    def _busy(self) -> float:
        """Seconds of processor time that the workers have taken so far."""
        times = [worker.cpu_times() for worker in self._process.children()]
        return sum(each.user + each.system for each in times)


@contextmanager
def site(kind: str, server: RedisServer) -> Iterator[Site]:
    """The site under Gunicorn with workers of one kind."""
    with tempfile.TemporaryDirectory() as directory:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "benchmarks.site_settings",
            "BENCH_REDIS_URL": server.url,
            "BENCH_DATABASE": str(Path(directory) / "records.sqlite3"),
        }

        def django(*arguments: str) -> str:
            command = [sys.executable, "-m", "django", *arguments]
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
            )
            return done.stdout.strip()

        django("migrate", "--verbosity=0")
        token = django("llmcache_key", "create", "bench").split()[-1]
        port = free_port()
        options = ["--workers=2", f"--bind=127.0.0.1:{port}", "--log-level=error"]
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *KINDS[kind], *options], cwd=ROOT, env=environment
        )
        try:
            wait_for(port, process)
            sleep(1)  # both workers are to be there
            yield Site(port, process, token)
        finally:
            process.terminate()
            process.wait()


def of_site(kind: str, server: RedisServer) -> Iterator[Row]:
    """Hits of the site's views and of its endpoint under load, over Redis."""
    with site(kind, server) as running:
        for name, (ours, page, bare) in ROWS[kind].items():
            contenders = {
                "ours": running.under_load(Target(ours)),
                "cache_page": running.under_load(Target(page)),
                "the view": running.under_load(Target(bare)),
            }
            yield compete(f"{name}, Gunicorn's {kind}", contenders, rounds=ROUNDS)
        asked = json.dumps(question(1024))
        ours, bare = "llm/v1/chat/completions", "bare" if kind == "threads" else "abare"
        contenders = {
            "ours": running.under_load(Target(ours, asked, running.token)),
            "the view": running.under_load(Target(bare, asked, running.token)),
        }
        yield compete(f"the endpoint, Gunicorn's {kind}", contenders, rounds=ROUNDS)
