"""Talks to the peers, each a process of its own Python, so that their rounds fall between ours."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from benchmarks.timing import Missing

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "benchmarks" / "peers"
ROOMS = ROOT / ".venv-peers"
PATIENCE = 90.0  # seconds that a peer may take for one job


@dataclass(frozen=True)
class Kind:
    """How a peer is run.

    Attributes:
        script: in benchmarks/peers.
        room: its virtual environment in .venv-peers; this project's Python if "".
    """

    script: str
    room: str = ""

    @property
    def python(self) -> Path:
        return ROOMS / self.room / "bin" / "python" if self.room else Path(sys.executable)


OURS = Kind("ours_server.py")
PEERS: Mapping[str, Kind] = {
    "LiteLLM": Kind("litellm_server.py", "litellm"),
    "LiteLLM 1.108": Kind("litellm_server.py", "litellm-1.108"),
    "LangChain": Kind("langchain_server.py", "langchain"),
    "GPTCache": Kind("gptcache_server.py", "gptcache"),
    "DSPy": Kind("dspy_server.py", "dspy"),
    "hishel": Kind("hishel_server.py", "hishel"),
    "RedisVL": Kind("redisvl_server.py", "redisvl"),
    "Django": Kind("django_server.py"),
}


class Peer:
    """A peer's process, started at its first job.

    Attributes:
        name: in the table, and the API key with which it asks the provider.
    """

    def __init__(self, name: str, kind: Kind, patience: float = PATIENCE) -> None:
        self.name = name
        self._kind = kind
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._dead = ""

    def tell(self, job: Mapping[str, Any]) -> None:
        """Give it a job.

        Raises:
            Missing: it cannot be started, or has ended.
        """
        if self._process is None:
            self._start()
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({**job, "name": self.name}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise Missing(self._end()) from None

    def answer(self) -> dict[str, Any]:
        """The answer to the job.

        Raises:
            Missing: it has no such path, failed, ended, or took too long.
        """
        assert self._process is not None and self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], self._patience)[0]:
            raise Missing(self._end(f"no answer within {self._patience:.0f} s"))
        line = self._process.stdout.readline()
        if not line:
            raise Missing(self._end())
        told: dict[str, Any] = json.loads(line)
        if "missing" in told:
            raise Missing(told["missing"])
        return told

    def do(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Tell and wait for the answer. Raises as they do."""
        self.tell(job)
        return self.answer()

    def close(self) -> None:
        """End its process."""
        if self._process is not None:
            with self._process:
                self._process.kill()
            self._process = None
        if self._said is not None:
            self._said.close()
            self._said = None

    def _start(self) -> None:
        if self._dead:
            raise Missing(self._dead)
        if not self._kind.python.exists():
            self._dead = not_installed(self._kind.room)
            raise Missing(self._dead)
        # No network: LiteLLM would fetch prices, LangChain and RedisVL look for services.
        quiet = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LANGSMITH_TRACING": "false",
            "PYTHONWARNINGS": "ignore",
        }
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        path = {} if self._kind.room else {"PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [str(self._kind.python), str(SCRIPTS / self._kind.script)],
            env={**os.environ, **quiet, **path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            bufsize=0,
        )

    def _end(self, reason: str = "") -> str:
        """End it for good: what it said last is the reason."""
        assert self._process is not None and self._said is not None
        if not reason:
            reason = f"its process has ended with status {self._process.wait(5)}"
        self._process.kill()
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip().splitlines()
        self.close()
        self._dead = f"{reason}: {said[-1][:200]}" if said else reason
        return self._dead


def not_installed(room: str) -> str:
    """Why a peer's room is not there."""
    log = ROOMS / f"{room}.log"
    said = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    errors = [line for line in said if line.startswith("ERROR")]
    return f"it did not install: {errors[-1][:200]}" if errors else "not installed: `make peers`"


@contextmanager
def running(kinds: Mapping[str, Kind] = PEERS) -> Iterator[list[Peer]]:
    """All peers, until the block ends."""
    peers = [Peer(name, kind) for name, kind in kinds.items()]
    try:
        yield peers
    finally:
        for peer in peers:
            peer.close()
