"""Console blocks: commands of this package are run, those of others are looked at."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final

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
    ("make",): _make,
}
