"""What tests of commands share: a store that other processes see, questions, and commands as they
are called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

import llmcache
from llmcache import maintenance
from llmcache.models import Entry
from llmcache.recorder import recorder

Ask = Callable[..., Any]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A site whose default store is a directory."""
    described = {"BACKEND": "llmcache.backends.disk.DiskBackend", "LOCATION": str(tmp_path / "a")}
    memory = {"BACKEND": "llmcache.backends.memory.MemoryBackend"}
    with override_settings(
        LLMCACHE={"default": described, "memory": memory},
        LLMCACHE_CONFIG={"STORE_PROMPTS": "full"},
    ):
        yield tmp_path


@pytest.fixture
def file(site: Path) -> str:
    """Where an export goes."""
    return str(site / "entries.jsonl")


def forget() -> None:
    """The site loses its entries and their rows."""
    maintenance.clear("default")
    Entry.objects.all().delete()


@pytest.fixture
def ask() -> Ask:
    """One question, recorded in the index and the log at once."""

    def answered(text: str, stream: bool = False, **cache: Any) -> Any:
        messages = [{"role": "user", "content": text}]
        answer = llmcache.completion("m", messages=messages, stream=stream, cache=cache)
        if stream:
            list(answer)
        recorder.flush()
        return answer

    return answered


@dataclass
class Ran:
    """What a command wrote, and how it ended."""

    out: str
    err: str
    code: int = 0


@pytest.fixture
def run() -> Callable[..., Ran]:
    """A command, called in this process; an error's text is part of `err`."""

    def called(name: str, *arguments: str) -> Ran:
        out, err = StringIO(), StringIO()
        code = 0
        try:
            call_command(f"llmcache_{name}", *arguments, stdout=out, stderr=err)
        except CommandError as error:
            code = error.returncode
            err.write(str(error))
        return Ran(out.getvalue(), err.getvalue(), code)

    return called
