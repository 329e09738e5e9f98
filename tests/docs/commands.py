"""Console blocks: commands of this package are run, those of others are looked at."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final

import httpx
from django.core.management import call_command, get_commands
from packaging.requirements import Requirement

from tests.docs.blocks import ROOT

_PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_TARGETS: Final = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def run(line: str) -> None:
    """Do what one line of a console block says.

    Raises:
        AssertionError: nobody knows the command, or it names what there is not.
    """
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if not words:
        return
    for beginning, do in _KNOWN.items():
        if words[: len(beginning)] == list(beginning):
            do(words[len(beginning) :])
            return
    raise AssertionError(f"no test knows how to run {line!r}")


def _install(words: list[str]) -> None:
    for word in words:
        wanted = Requirement(word)
        if wanted.name == _PROJECT["name"]:
            unknown = wanted.extras - _PROJECT["optional-dependencies"].keys()
            assert not unknown, f"there is no extra {unknown}"


def _manage(words: list[str]) -> None:
    name, *arguments = words
    app = get_commands()[name]
    if str(app).startswith("llmcache"):
        call_command(name, *arguments)


def _make(words: list[str]) -> None:
    targets = {word for word in words if "=" not in word}
    assert targets <= _TARGETS, f"the Makefile has no {targets - _TARGETS}"


def _python(words: list[str]) -> None:
    exec(compile(words[0], "console", "exec"), {})


def _module(words: list[str]) -> None:
    assert find_spec(words[0]) is not None, f"there is no module {words[0]}"


def _curl(words: list[str]) -> None:
    """Ask what the line asks, twice: the second time the cache has it."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("url")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("--json", required=True)
    asked = parser.parse_args(words)
    headers = dict(header.split(": ", 1) for header in asked.headers)
    headers["Content-Type"] = "application/json"
    for _ in range(2):
        answer = httpx.post(asked.url, headers=headers, content=asked.json, timeout=30)
        assert answer.status_code == 200, answer.text
    assert answer.headers["X-LLMCache-Outcome"] == "hit"


def _nox(words: list[str]) -> None:
    """See that the sessions are there; running them takes hours."""
    asked = words[: words.index("--")] if "--" in words else words
    command = [sys.executable, "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"), "--list", *asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def _celery(words: list[str]) -> None:
    from celery.bin.worker import worker

    app, _, verb, *arguments = words
    assert (app, verb) == ("-A", "worker")
    worker.make_parser(worker.context_class(worker)).parse_args(list(arguments))


_KNOWN: Final[dict[tuple[str, ...], Callable[[list[str]], Any]]] = {
    ("pip", "install"): _install,
    ("python", "manage.py"): _manage,
    ("python", "-c"): _python,
    ("python", "-m"): _module,
    ("celery",): _celery,
    ("curl",): _curl,
    ("make",): _make,
    (".venv/bin/nox",): _nox,
}
