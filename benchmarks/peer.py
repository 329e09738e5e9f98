"""Talks to LiteLLM in its own virtual environment, so that its rounds fall between ours."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.questions import ANSWER
from benchmarks.timing import Contender

ROOT = Path(__file__).resolve().parent.parent
PYTHON = Path(os.environ.get("LITELLM_PYTHON", ROOT / ".venv-litellm" / "bin" / "python"))


class Peer:
    """A running LiteLLM."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def hits(self, cache: dict[str, Any], asked: dict[str, Any]) -> Contender:
        """A contender: hits of LiteLLM's cache of that description."""

        def run(times: int) -> float:
            assert self._process.stdin is not None and self._process.stdout is not None
            job = {"cache": cache, "asked": asked, "answer": ANSWER, "times": max(2, times // 5)}
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError("LiteLLM's process has ended")
            told = json.loads(line)
            if not told["hit"]:
                raise RuntimeError(f"LiteLLM did not hit with {cache}")
            return float(told["seconds"])

        return run


@contextmanager
def running() -> Iterator[Peer | None]:
    """LiteLLM, or None where it isn't installed."""
    if not PYTHON.exists():
        yield None
        return
    process = subprocess.Popen(
        [str(PYTHON), str(ROOT / "benchmarks" / "litellm_server.py")],
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},  # no network
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield Peer(process)
    finally:
        process.kill()
        process.wait()
