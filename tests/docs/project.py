"""A project that a page builds: its files are written and its commands run, in processes of their
own, by somebody who has the package and nothing else of this repository.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from packaging.requirements import Requirement

from tests.docs import installed
from tests.docs.blocks import Block, blocks
from tests.docs.stage import settings_of
from tests.servers.ports import free_port, wait_for
from tests.servers.provider import Provider

_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
_PROGRAMS = ("celery", "gunicorn", "uvicorn")
Step = Callable[[str], object]


class Project:
    """The directory of a page's project.

    Attributes:
        python: the interpreter that its commands run in.
        port: where its web server listens, in place of the usual one.
        places: addresses of the page, and what is at hand for them.
        printed: what each command has printed, by its line; the last run counts.
    """

    def __init__(
        self,
        directory: Path,
        provider: Provider | None = None,
        *,
        python: str = sys.executable,
        **places: str,
    ) -> None:
        self.directory = directory
        self.provider = provider
        self.python = python
        self.port = free_port()
        self.places = {"https://api.openai.com/v1": provider.base_url} if provider else {}
        self.places |= places
        self.environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self.printed: dict[str, str] = {}

    @property
    def settings(self) -> Path:
        """The file of the project's settings."""
        return self.directory / "mysite/settings.py"

    def follow(self, page: str, programs: dict[str, Step]) -> None:
        """Do what a page says, from its top.

        Args:
            programs: what to do with lines that start a program which does not end by itself, by
                how they begin.
        """
        for block in blocks(page):
            if block.language == "python":
                self.write(block)
            for line in block.code.splitlines() if block.language == "console" else ():
                beginnings = (begin for begin in programs if line.startswith(begin))
                step = programs.get(next(beginnings, ""), self.do)
                step(line)

    def write(self, block: Block) -> None:
        """Write a file, or add what it shows to the settings."""
        code = block.code
        for address, real in self.places.items():
            code = code.replace(address, real)
        if block.file:
            (self.directory / block.file).write_text(code)
            return
        assert settings_of(code), f"{block.place} is neither a file nor settings"
        with self.settings.open("a") as settings:
            settings.write(code)

    def do(self, line: str) -> str:
        """What a command prints."""
        words = shlex.split(line)
        match words:
            case ["export", assignment]:
                name, _, value = assignment.partition("=")
                self.environment[name] = value
                return ""
            case ["pip", "install", *wanted]:
                # Installing is the packager's work: what is not asked for is hidden instead.
                hiding = self.directory / ".hiding"
                installed.keep_to(map(Requirement, wanted), hiding)
                self.environment["PYTHONPATH"] = str(hiding)
                return ""
            case ["python3", "-m", "venv", _] | [".", _]:
                return ""  # this test's own environment stands in for it
            case ["django-admin", *arguments]:
                arguments = ["-m", "django", *arguments]
            case ["python", *arguments]:
                pass
            case _:
                raise AssertionError(f"no test knows how to run {line!r}")
        self.printed[line] = self._run(arguments)
        return self.printed[line]

    def _run(self, arguments: list[str]) -> str:
        done = subprocess.run(
            [self.python, *arguments],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def running(self, line: str, *more: str, listens: bool = True) -> Iterator[Path]:
        """A program that does not end by itself, until the block ends: then it is told to.

        Args:
            more: words that the page leaves out, such as the port.
            listens: whether to wait until it listens on the port.

        Yields:
            The file that it writes what it says to.
        """
        program, *words = shlex.split(line)
        start = ["-m", program] if program in _PROGRAMS else []
        log = self.directory / f"{program}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [self.python, *start, *words, *more],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                if listens:
                    wait_for(self.port, process)
                yield log
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=60)
            finally:
                process.kill()
                process.wait()


@contextmanager
def signed_in(base: str, username: str, password: str) -> Iterator[httpx.Client]:
    """A browser of somebody who has signed in to the admin of the site at `base`."""
    with httpx.Client(base_url=base, follow_redirects=True, timeout=30) as browser:
        form = browser.get("/admin/login/").text
        (token,) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        said = {"username": username, "password": password, "csrfmiddlewaretoken": token}
        browser.post("/admin/login/?next=/admin/", data=said).raise_for_status()
        yield browser


def text_of(html: str) -> str:
    """A page's text as people see it."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())
