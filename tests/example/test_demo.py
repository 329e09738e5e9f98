"""`make demo` does its job: a real model is asked, and every second time the cache answers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from example_project.local_model import ModelUnavailable, weights
from tests.conftest import missing
from tests.servers.site import ROOT, environment

PATIENCE = 900
"""Seconds. A busy machine needs minutes for what a free one does in ten."""
pytestmark = pytest.mark.timeout(PATIENCE + 60)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the command prints."""
    try:
        weights()
    except ModelUnavailable as error:
        missing("The local model", error)
    done = subprocess.run(
        [sys.executable, "manage.py", "demo", "--no-serve"],
        cwd=ROOT,
        env=environment(str(tmp_path_factory.mktemp("demo"))),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_question_misses_once_and_then_hits(demo: str) -> None:
    words = demo.partition("Matched by meaning")[0].split()
    assert words.count("miss") == words.count("hit") == 4
    assert "4 of 8 answers came from the cache" in demo


def test_what_it_did_is_in_the_log_and_in_the_index(demo: str) -> None:
    assert "8 calls are in the log, 4 in the index." in demo


def test_a_question_that_means_the_same_is_matched_and_one_that_looks_so_is_not(demo: str) -> None:
    lines = demo.partition("Matched by meaning:")[2].strip().splitlines()
    assert [line.split(" ms")[0].split()[-2] for line in lines] == ["miss", "hit", "miss"]
    assert "guard numbers" in lines[2]
