"""quickstart.md in an empty directory: its commands are run and its files written, in its order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import httpx
import pytest

from tests.docs.blocks import PAGES, Block, blocks
from tests.servers.ports import free_port, wait_for
from tests.servers.provider import Provider

BLOCKS = blocks("quickstart")
ADMIN = {"USERNAME": "ada", "PASSWORD": "a long one", "EMAIL": "ada@example.com"}


class Newcomer:
    """Somebody in an empty directory, who has the package and nothing else of this repository."""

    def __init__(self, directory: Path, provider: Provider) -> None:
        self.directory = directory
        self.provider = provider
        kept = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TMPDIR")
        self.environment = {name: os.environ[name] for name in kept if name in os.environ}
        self.environment |= {f"DJANGO_SUPERUSER_{name}": value for name, value in ADMIN.items()}
        self.port = free_port()

    def settings(self, block: Block) -> None:
        code = block.code.replace("https://api.openai.com/v1", self.provider.base_url)
        with (self.directory / "mysite/settings.py").open("a") as file:
            file.write(code)

    def write(self, block: Block) -> None:
        (self.directory / block.file).write_text(block.code)

    def do(self, line: str) -> str:
        """What a command prints."""
        words = shlex.split(line)
        match words:
            case ["export", assignment]:
                name, _, value = assignment.partition("=")
                self.environment[name] = value
                return ""
            case ["pip", "install", wanted]:
                # Installing is the packager's: see that what is wanted has been.
                name, extra = re.fullmatch(r"([\w-]+)\[(\w+)\]", wanted).groups()
                assert extra in distribution(name).metadata.get_all("Provides-Extra")
                return ""
            case ["django-admin", *arguments]:
                return self.run("-m", "django", *arguments)
            case ["python", "manage.py", "createsuperuser"]:
                return self.run("manage.py", "createsuperuser", "--no-input")
            case ["python", *arguments]:
                return self.run(*arguments)
        raise AssertionError(f"the page has {line!r}, which this test does not know")

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def serve(self, line: str) -> subprocess.Popen[bytes]:
        assert line == "python manage.py runserver"
        return subprocess.Popen(
            [sys.executable, "manage.py", "runserver", "--noreload", str(self.port)],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def look(self, address: str) -> str:
        """A page of the admin, as text, after signing in."""
        base = f"http://127.0.0.1:{self.port}"
        with httpx.Client(base_url=base, follow_redirects=True, timeout=30) as browser:
            form = browser.get("/admin/login/").text
            token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)[1]
            who = {"username": ADMIN["USERNAME"], "password": ADMIN["PASSWORD"]}
            browser.post("/admin/login/", data={**who, "csrfmiddlewaretoken": token})
            page = browser.get(address)
        assert page.status_code == 200
        return " ".join(re.sub(r"<[^>]+>", " ", page.text).split())


@pytest.fixture
def newcomer(tmp_path: Path, speaking: Provider) -> Newcomer:
    return Newcomer(tmp_path, speaking)


def test_the_page_leads_from_nothing_to_a_hit_in_the_admin(newcomer: Newcomer) -> None:
    settings, ask, fake = (block for block in BLOCKS if block.language == "python")
    install, migrate, run, serve = (
        block.code.splitlines() for block in BLOCKS if block.language == "console"
    )
    for line in install:
        newcomer.do(line)
    newcomer.settings(settings)
    for line in migrate:
        newcomer.do(line)
    newcomer.write(ask)
    export, *asks = run
    newcomer.do(export)
    first, second = (newcomer.do(line).splitlines() for line in asks)
    assert first[-1] == "miss False 0.0 s old"
    assert second[-1].startswith("hit True ")
    assert first[:-1] == second[:-1] != []
    asked = newcomer.provider.requests
    assert [each.headers["authorization"] for each in asked] == ["Bearer sk-..."]

    create, runserver = serve
    newcomer.do(create)
    server = newcomer.serve(runserver)
    try:
        wait_for(newcomer.port, server)
        (address,) = re.findall(r"`http://127.0.0.1:8000(/\S+)`", PAGES["quickstart"].read_text())
        dashboard = newcomer.look(address)
    finally:
        server.kill()
        server.wait()
    assert "Requests 2" in dashboard and "Hit rate 50" in dashboard

    newcomer.settings(fake)  # the same page without a key
    outcomes = [newcomer.do(line).splitlines()[-1].split()[0] for line in asks]
    assert outcomes == ["miss", "hit"] and len(asked) == 1
