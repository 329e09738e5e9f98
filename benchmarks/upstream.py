"""The provider that all contenders ask, in a process of its own: tests/servers/provider.py with an
answer of usual length. It waits as long as it is told, and counts by whom it was asked.

`python -m benchmarks.upstream` prints its address, then answers lines of JSON on standard input.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.questions import ANSWER, PIECE, STREAMED
from tests.servers import provider
from tests.servers.provider import (
    CHAT,
    Behaviour,
    Handler,
    Provider,
    Recorded,
    answer,
    delta,
    events,
    stream,
)


class Upstream:
    """The running provider.

    Attributes:
        base_url: where it listens.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self.base_url: str = json.loads(process.stdout.readline())["base_url"]

    def count(self, who: str) -> int:
        """How often it was asked with this API key so far."""
        return int(self._tell({"count": who})["count"])

    def wait(self, seconds: float) -> None:
        """Wait so long before each answer from now on."""
        self._tell({"wait": seconds})

    def _tell(self, job: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told


@contextmanager
def running() -> Iterator[Upstream]:
    """The provider, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.upstream"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Upstream(process)
        finally:
            process.kill()


# --- the process ---


class Slow(Provider):
    """Answers after a wait, and remembers of each request only who made it."""

    def __init__(self) -> None:
        super().__init__()
        self.wait = 0.0
        self.asked: Counter[str] = Counter()
        choice = {**CHAT["choices"][0], "message": {"role": "assistant", "content": ANSWER}}
        pieces = [delta(STREAMED[at : at + PIECE]) for at in range(0, len(STREAMED), PIECE)]
        pieces.append(delta(finish_reason="stop"))
        self.whole = answer({**CHAT, "choices": [choice]})
        self.streamed = stream(events(*pieces))

    def next_behaviour(self, recorded: Recorded) -> Behaviour:
        who = recorded.headers["authorization"].removeprefix("Bearer ")
        with self._lock:
            self.asked[who] += 1

        def behave(handler: Handler) -> None:
            self.stopping.wait(self.wait)
            (self.streamed if recorded.json.get("stream") else self.whole)(handler)

        return behave


def main() -> None:
    made = Slow()
    with provider.running(made):
        print(json.dumps({"base_url": made.base_url}), flush=True)
        for line in sys.stdin:
            job = json.loads(line)
            if "wait" in job:
                made.wait = job["wait"]
            print(json.dumps({"count": made.asked[job.get("count", "")]}), flush=True)


if __name__ == "__main__":
    main()
