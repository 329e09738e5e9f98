"""Load for a web server: by wrk or, where that is not installed, by threads of a Python process
of its own (`python -m benchmarks.load`), which is slower than many servers: rates are lower then.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import quantiles
from threading import Thread
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

CONNECTIONS = 16
SECONDS = 1
WRK = shutil.which("wrk")
_SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Target:
    """What to ask for, again and again."""

    path: str
    body: str = ""
    token: str = ""


def ask(base: str, target: Target) -> None:
    """Send a request once, with time enough for a worker that has just started."""
    headers = {"Content-Type": "application/json"}
    if target.token:
        headers["Authorization"] = f"Bearer {target.token}"
    body = target.body.encode() or None
    with urlopen(Request(base + target.path, data=body, headers=headers), timeout=60) as response:
        response.read()


def put(base: str, target: Target) -> dict[str, Any]:
    """Load a server for SECONDS: how many requests it has answered, and how long they took.

    Raises:
        RuntimeError: some were not answered well.
    """
    url = base + target.path
    environment = {**os.environ, "LOAD_METHOD": "POST" if target.body else "GET"}
    if target.body:
        environment["LOAD_BODY"] = target.body
    if target.token:
        environment["LOAD_AUTHORIZATION"] = f"Bearer {target.token}"
    command = [sys.executable, "-m", "benchmarks.load", url]
    if WRK is not None:
        limits = [f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-t1"]
        command = [WRK, *limits, "-s", str(_SCRIPT), url]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if told["failed"] or not told["requests"]:
        raise RuntimeError(f"{url} does not answer under load: {told}")
    return told


class Loader:
    """What wrk does, in Python: keeps connections busy until the time is over."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._method = os.environ["LOAD_METHOD"]
        self._body = os.environ.get("LOAD_BODY")
        self._headers = {"Content-Type": "application/json"}
        if authorization := os.environ.get("LOAD_AUTHORIZATION"):
            self._headers["Authorization"] = authorization
        self._taken: list[float] = []
        self._failed = 0

    def run(self) -> dict[str, Any]:
        """Load the server; what came of it, as `wrk.lua` says it."""
        started = perf_counter()
        threads = [
            Thread(target=self._keep_busy, args=(started + SECONDS,)) for _ in range(CONNECTIONS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = perf_counter() - started
        cuts = quantiles(self._taken, n=100)
        return {
            "requests": len(self._taken),
            "seconds": seconds,
            "median": cuts[49],
            "slowest": cuts[98],
            "failed": self._failed,
        }

    def _keep_busy(self, end: float) -> None:
        connection = HTTPConnection(self._parts.netloc, timeout=30)
        begun = perf_counter()
        while begun < end:
            connection.request(self._method, self._parts.path, self._body, self._headers)
            response = connection.getresponse()
            response.read()
            self._failed += response.status != 200
            now = perf_counter()
            self._taken.append(now - begun)
            begun = now
        connection.close()


if __name__ == "__main__":
    print(json.dumps(Loader(sys.argv[1]).run()))
