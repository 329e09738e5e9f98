"""Cached views under real web servers: chunks arrive as they are made, and come back alike."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.conftest import missing
from tests.servers.ports import free_port, wait_for
from tests.servers.site import ROOT

SERVERS = {
    "gunicorn": ["tests.decorators.server_urls:wsgi", "--threads", "4", "--bind=127.0.0.1:{}"],
    "uvicorn": ["tests.decorators.server_urls:asgi", "--lifespan", "off", "--port={}"],
}


class Server:
    """A running server; `paths` are its views of a whole answer and of a stream."""

    def __init__(self, port: int, paths: tuple[str, str]) -> None:
        self.port = port
        self.whole, self.streamed = paths

    def open(self, path: str, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", f"/{path}", headers=headers)
        return connection.getresponse()

    def go(self) -> Any:
        """Let streams go on; how often views have run, and streams have been closed."""
        return orjson.loads(self.open("go").read())


@pytest.fixture(params=["gunicorn", "uvicorn"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    module = request.param
    if find_spec(module) is None:
        missing(module, f"the package {module} is not installed")
    port = free_port()
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.decorators.server_settings",
        "SITE_DATABASE": str(tmp_path / "db.sqlite3"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", module, *(part.format(port) for part in SERVERS[module])],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, process)
        yield Server(port, ("ask", "stream") if module == "gunicorn" else ("aask", "astream"))
    finally:
        process.kill()
        process.wait()


def test_a_whole_answer_is_cached(server: Server) -> None:
    first, second = server.open(server.whole), server.open(server.whole)
    assert first.read() == second.read()
    assert first.headers["X-LLMCache-Outcome"] == "miss"
    assert second.headers["X-LLMCache-Outcome"] == "hit"
    assert int(second.headers["X-LLMCache-Saved-Tokens"]) > 0
    assert server.open(server.whole, Authorization="Bearer a").headers["X-LLMCache-Outcome"] == (
        "miss"
    )


def test_a_streams_first_chunk_arrives_before_its_second_is_made(server: Server) -> None:
    live = server.open(server.streamed)
    assert live.read1() == b"data: first\n\n"  # the view is waiting for what comes next
    assert server.go() == {"calls": 1, "closed": 0}
    whole = b"data: first\n\n" + live.read()
    assert whole.count(b"data: more\n\n") == 20000
    again = server.open(server.streamed)
    assert again.headers["X-LLMCache-Outcome"] == "hit"
    assert again.headers["Content-Type"] == "text/event-stream"
    assert again.read() == whole
    assert server.go() == {"calls": 1, "closed": 1}


def test_a_visitor_who_leaves_ends_the_view_and_leaves_nothing(server: Server) -> None:
    live = server.open(server.streamed)
    assert live.read1() == b"data: first\n\n"
    live.close()
    while server.go()["closed"] < 1:
        pass
    again = server.open(server.streamed)
    assert again.headers["X-LLMCache-Outcome"] == "miss"
    assert again.read().count(b"data: more\n\n") == 20000
