"""The parts of the site under soak: each a real program, which can be killed and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import postgres
from tests.servers.ports import free_port, wait_for
from tests.servers.redis import RedisServer, plain_server
from tests.servers.site import ROOT
from tests.soak.questions import TENANTS

_PREPARE = """
import json, sys
import django
django.setup()
from django.core.management import call_command
from llmcache.models import VirtualKey
call_command("migrate", verbosity=0)
tokens = {}
for tenant in json.loads(sys.argv[1]):
    key = VirtualKey(name=tenant, scope=tenant, requests_per_minute=1_000_000, budget=1e9)
    tokens[tenant] = key.renew()
    key.save()
print(json.dumps(tokens))
"""
_WSGI = ["gunicorn", "tests.soak.site:wsgi", "--workers=2", "--threads=8", "--log-level=warning"]
_ASGI = ["uvicorn", "tests.soak.site:asgi", "--log-level=warning"]
_CELERY = (
    *("celery", "-A", "tests.soak.celery_app", "worker", "--concurrency=2", "--loglevel=WARNING"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)


@dataclass
class Parts:
    """All parts, and what to do to them.

    Attributes:
        folder: has the site's settings, journals and logs.
        tokens: of the endpoint's virtual keys, by tenant.
        killed: processes of the site that were given no time to end, and when: unix seconds.
    """

    folder: Path
    database: postgres.OwnServer
    provider: str
    redis_port: int = field(default_factory=free_port)
    wsgi_port: int = field(default_factory=free_port)
    asgi_port: int = field(default_factory=free_port)
    tokens: dict[str, str] = field(default_factory=dict)
    killed: dict[int, float] = field(default_factory=dict)
    _redis: RedisServer | None = None
    _redis_end: ExitStack = field(default_factory=ExitStack)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _celery: list[int] = field(default_factory=list)

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.soak.settings",
            "SOAK_SITE": str(self.folder / "site.json"),
            "SOAK_JOURNAL": str(self.journal),
        }

    @property
    def journal(self) -> Path:
        """The folder of the site's journals."""
        return self.folder / "journal"

    def start(self) -> None:
        """Start what serves the site, over a database with its tables."""
        self.journal.mkdir()
        site = {
            "database": self.database.settings,
            "redis": f"redis://127.0.0.1:{self.redis_port}",
            "provider": self.provider,
        }
        (self.folder / "site.json").write_text(json.dumps(site))
        self.start_redis()
        prepared = self.run(_PREPARE, json.dumps(TENANTS))
        self.tokens = json.loads(prepared)
        for name, command, port in (
            ("gunicorn", [*_WSGI, f"--bind=127.0.0.1:{self.wsgi_port}"], self.wsgi_port),
            ("uvicorn", [*_ASGI, f"--port={self.asgi_port}"], self.asgi_port),
        ):
            self._start(name, *command)
            wait_for(port, self._running[name], seconds=60)
        self.start_celery()

    def run(self, code: str, *arguments: str) -> str:
        """Run code in a process of the site to its end; what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _end(self, name: str) -> None:
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def stop(self) -> None:
        """End what serves the site, in good order."""
        for name in ("gunicorn", "uvicorn", "celery"):
            if name in self._running:
                self._end(name)

    def kill(self) -> None:
        """End everything at once."""
        for process in self._running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._redis_end.close()

    def logs(self) -> dict[str, str]:
        """What the parts have logged."""
        return {path.stem: path.read_text() for path in self.folder.glob("*.log")}

    def processes(self) -> dict[int, str]:
        """The processes that do the site's work, by their ids; what each is part of."""
        found = {self._running["uvicorn"].pid: "uvicorn"} if "uvicorn" in self._running else {}
        for name in ("gunicorn", "celery"):
            if name in self._running:
                found |= dict.fromkeys(_children(self._running[name].pid), name)
        return found

    def web_processes(self) -> set[int]:
        """Those that answer requests."""
        return {process for process, name in self.processes().items() if name != "celery"}

    # --- Redis ---

    def start_redis(self) -> None:
        self._redis = self._redis_end.enter_context(plain_server(port=self.redis_port))

    def kill_redis(self) -> None:
        """At once, and with all that it has."""
        self._redis_end.close()

    def hang_redis(self) -> None:
        self._signal_redis(signal.SIGSTOP)

    def wake_redis(self) -> None:
        self._signal_redis(signal.SIGCONT)

    def _signal_redis(self, number: int) -> None:
        assert self._redis is not None and self._redis.process is not None
        self._redis.process.send_signal(number)

    # --- gunicorn and Celery ---

    def reload_gunicorn(self) -> None:
        """Have its workers replaced, each once it has answered."""
        self._running["gunicorn"].send_signal(signal.SIGHUP)

    def kill_gunicorn_worker(self) -> None:
        """One of the two; gunicorn starts another."""
        worker = _children(self._running["gunicorn"].pid)[0]
        self.killed[worker] = time.time()
        os.kill(worker, signal.SIGKILL)

    def start_celery(self) -> None:
        self._celery = []
        self._start("celery", *_CELERY)

    def kill_celery(self) -> None:
        """The worker and its children."""
        process = self._running.pop("celery")
        self.killed |= dict.fromkeys(_children(process.pid), time.time())
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def revive_celery(self) -> bool:
        """Start it again if it has ended by itself, as whatever watches over services does; whether
        it had. A worker may end so when its Redis does."""
        process = self._running.get("celery")
        if process is None:
            return False
        if process.poll() is None:
            self._celery = _children(process.pid)
            return False
        self.killed |= dict.fromkeys(self._celery, time.time())
        self.kill_celery()
        self.start_celery()
        return True

    def restart_celery(self) -> None:
        """In good order: what it has begun, it ends."""
        self._end("celery")
        self.start_celery()


def _children(process: int) -> list[int]:
    """The processes that one has started."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == process:
                    found.append(int(folder.name))
    return sorted(found)


@contextmanager
def running(folder: Path) -> Iterator[Parts]:
    """A site that serves, until the block ends.

    Raises:
        ImportError, Missing: a part is not installed.
    """
    for name in ("celery", "gunicorn", "uvicorn"):
        __import__(name)
    provider = subprocess.Popen(
        [sys.executable, "-m", "tests.soak.provider", str(folder / "provider")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert provider.stdout is not None
    try:
        with postgres.own_server() as database:
            parts = Parts(folder, database, provider.stdout.readline().decode().strip())
            try:
                try:
                    parts.start()
                except Exception as error:
                    error.add_note(str(parts.logs()))
                    raise
                yield parts
            finally:
                parts.kill()
    finally:
        provider.kill()
        provider.communicate()


def until(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds; False if it did not in time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
