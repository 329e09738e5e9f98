"""Real web servers: what their workers record is all written, however they end."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.ledger.processes import Site, sqlite_site
from tests.servers.ports import free_port, wait_for
from tests.servers.site import ROOT

GUNICORN = ["gunicorn", "tests.ledger.site_urls:wsgi", "--workers", "2", "--threads", "2"]
UVICORN = ["uvicorn", "tests.ledger.site_urls:asgi", "--log-level", "warning"]


class Server:
    """A running web server."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[str] = []

    def get(self, path: str) -> str:
        """The body of a page; of an error its code."""
        self.asked.append(path)
        try:
            with urllib.request.urlopen(f"{self.url}/{path}", timeout=30) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            return f"{error.code}"

    def get_many(self, paths: list[str]) -> list[str]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(self.get, paths))

    def end(self) -> None:
        """As a system does that stops a service."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)


@contextmanager
def running(site: Site, module: str, *arguments: str) -> Iterator[Server]:
    """A server of the site's views."""
    if find_spec(module) is None:
        missing(module, f"the package {module} is not installed")
    port = free_port()
    where = [f"--bind=127.0.0.1:{port}"] if module == "gunicorn" else [f"--port={port}"]
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments, *where],
        cwd=ROOT,
        env=site.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, process)
        yield Server(process, port)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site whose records wait a minute, so that they are written at the end or not at all."""
    site = sqlite_site(tmp_path, config={"FLUSH_INTERVAL": 60})
    site.databases["default"]["OPTIONS"] = {"timeout": 20}
    return site


def test_gunicorn_workers_write_when_they_are_reloaded_and_when_they_end(site: Site) -> None:
    with running(site, *GUNICORN) as server:
        old: set[str] = set()
        while len(old) < 2 or len(server.asked) < 100:
            old |= {said.split()[0] for said in server.get_many(["ask/one"] * 20)}
        server.process.send_signal(signal.SIGHUP)
        while server.get("ask/reloaded").split()[0] in old:
            pass
        site.until(lambda found: found["calls"] >= 100)
        server.get_many([f"ask/{n % 5}" for n in range(50)])
        server.end()
    found = site.counts()
    assert (found["different"], found["counted"]) == (len(server.asked), len(server.asked))


def test_gunicorn_workers_that_are_replaced_after_some_requests_lose_nothing(site: Site) -> None:
    with running(site, *GUNICORN, "--max-requests", "10") as server:
        said = server.get_many([f"ask/{n % 5}" for n in range(60)])
        assert len({each.split()[0] for each in said}) > 2
        server.end()
    assert site.counts()["calls"] == 60


def test_gunicorn_workers_forked_from_a_master_that_has_called_lose_nothing(site: Site) -> None:
    with running(site, *GUNICORN, "--preload") as server:
        server.get_many([f"ask/{n % 5}" for n in range(60)])
        server.end()
    assert site.counts()["calls"] == 60


@pytest.mark.parametrize("view", ["ask", "aask"])
def test_uvicorn_writes_before_it_ends(site: Site, view: str) -> None:
    with running(site, *UVICORN) as server:
        server.get_many([f"{view}/{n % 5}" for n in range(60)])
        server.end()
    found = site.counts()
    assert (found["calls"], found["counted"], found["entries"]) == (60, 60, 5)


def test_a_view_that_fails_in_its_transaction_keeps_its_records(site: Site) -> None:
    site.databases["default"]["ATOMIC_REQUESTS"] = True
    with running(site, *GUNICORN) as server:
        assert server.get_many([f"fail/{n % 5}" for n in range(20)]) == ["500"] * 20
        server.end()
    found = site.counts()
    assert (found["calls"], found["counted"]) == (20, 20)
