"""The example site under uvicorn, with the real model behind it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from example_project.local_model import ModelUnavailable
from example_project.local_model import running as model_running
from tests.servers.ports import free_port, wait_for

ROOT = Path(__file__).parent.parent.parent


def environment(directory: str) -> dict[str, str]:
    """The environment of a process of the example project that writes only to a directory."""
    kept = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    return {
        **kept,
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "EXAMPLE_DATA_DIR": directory,
    }


@contextmanager
def running() -> Iterator[str]:
    """The site's URL, without a slash at its end.

    Raises:
        ModelUnavailable: the model cannot run here.
    """
    with model_running() as base_url, tempfile.TemporaryDirectory() as directory:
        env = {**environment(directory), "CHAT_BASE_URL": base_url}
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
            cwd=ROOT,
            env=env,
            check=True,
        )
        port = free_port()
        server = [sys.executable, "-m", "uvicorn", "example_project.asgi:application"]
        process = subprocess.Popen(
            [*server, "--port", str(port), "--lifespan", "off", "--log-level", "warning"],
            cwd=ROOT,
            env=env,
        )
        try:
            wait_for(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The example site's URL."""
    from tests.conftest import missing

    try:
        with running() as url:
            yield url
    except ModelUnavailable as error:
        missing("The local model", error)
