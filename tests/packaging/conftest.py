"""The package as `make dist` has built it, and the site of somebody who has that and nothing else.

Collected only where LLMCACHE_TEST_DIST names the directory of the built package: installing it
takes a package index, which the other tests do without.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks
from tests.docs.project import Project

DIST = os.environ.get("LLMCACHE_TEST_DIST", "")
collect_ignore_glob = [] if DIST else ["test_*.py"]


@pytest.fixture(scope="session")
def sdist() -> Path:
    """The source distribution."""
    (found,) = (ROOT / DIST).glob("*.tar.gz")
    return found


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The wheel, which was built from the source distribution."""
    (found,) = (ROOT / DIST).glob("*.whl")
    return found


@pytest.fixture(scope="session")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment in which the wheel was installed, without extras."""
    room = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", room], check=True)
    python = str(room / "bin" / "python")
    subprocess.run([*pip_of(python), "install", "--quiet", str(wheel)], check=True)
    return python


def pip_of(python: str) -> list[str]:
    """The command that installs into another interpreter's environment."""
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]


@pytest.fixture(scope="session")
def site(python: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A new project with its tables made. It has three settings: the app, a cache of some size, and
    the provider of docs/quickstart.md that needs no key.
    """
    project = Project(tmp_path_factory.mktemp("site"), python=python)
    page = blocks("quickstart")
    cache = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    cache["OPTIONS"] = {"MAX_ENTRIES": 10_000}  # what the check W102 asks for
    settings = next(block for block in page if "INSTALLED_APPS" in block.code)
    project.do("django-admin startproject mysite .")
    project.write(replace(settings, code=settings.code.splitlines(keepends=True)[0]))
    project.write(next(block for block in page if "FakeUpstream" in block.code))
    with project.settings.open("a") as settings:
        settings.write(f"CACHES = {{'default': {cache!r}}}\n")
    project.do("python manage.py migrate")
    return project
