"""The library that llama.cpp's wheel leaves to the system, lent where it is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from example_project import openmp
from example_project.local_model import ModelUnavailable, running
from tests.conftest import missing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux's wheels ask for it")
LOADED = "import xllamacpp; print(open('/proc/self/maps').read())"


@pytest.fixture
def library() -> Path:
    found = openmp.brought_by_a_wheel()
    if found is None:
        missing("OpenMP's runtime", "no wheel here brings it along")
    return found


def test_llama_cpp_loads_the_library_that_is_lent(library: Path) -> None:
    with openmp.lent(library) as environment:
        done = subprocess.run(
            [sys.executable, "-c", LOADED],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert f"{library}\n" in done.stdout


def test_what_was_in_the_way_of_libraries_stays(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/own/lib")
    with openmp.lent(library) as environment:
        assert environment["LD_LIBRARY_PATH"].endswith(":/opt/own/lib")


def test_a_model_that_cannot_start_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / openmp.NAME
    broken.write_bytes(b"no library")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setattr(openmp, "on_this_system", lambda: True)
    with pytest.raises(ModelUnavailable) as caught, running():
        pass
    assert openmp.NAME in str(caught.value)
    assert "apt-get install libgomp1" in str(caught.value)
