"""What the source distribution and the wheel hold: all that they need, and nothing else."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import pytest

from tests.docs.blocks import ROOT

OF_THE_PACKAGE = (
    "llmcache/py.typed",
    "llmcache/evaluation/data/fow_pairs.jsonl",
    "llmcache/evaluation/data/ATTRIBUTION.md",
    "llmcache/locale/de/LC_MESSAGES/django.mo",
    "llmcache/locale/de/LC_MESSAGES/django.po",
    "llmcache/locale/fr/LC_MESSAGES/django.mo",
    "llmcache/migrations/0001_initial.py",
    "llmcache/static/llmcache/admin.css",
    "llmcache/templates/admin/llmcache/entry.html",
    "llmcache/templates/llmcache/debug_toolbar/calls.html",
)


def files_of_sdist(sdist: Path) -> set[str]:
    """Paths from the directory that the archive unpacks to."""
    with tarfile.open(sdist) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def files_of_wheel(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_sdist_is_what_git_keeps(sdist: Path) -> None:
    kept = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert files_of_sdist(sdist) == {*kept.strip("\0").split("\0"), "PKG-INFO"}


def test_the_wheel_is_the_package_of_the_sdist_with_its_translations_compiled(
    sdist: Path, wheel: Path
) -> None:
    package = {name for name in files_of_sdist(sdist) if name.startswith("llmcache/")}
    compiled = {
        str(PurePosixPath(name).with_suffix(".mo")) for name in package if name[-3:] == ".po"
    }
    found = files_of_wheel(wheel)
    about = {name for name in found if name.split("/")[0].endswith(".dist-info")}
    assert found - about == package | compiled
    assert {name.partition("/")[2] for name in about} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }


@pytest.mark.parametrize("name", OF_THE_PACKAGE)
def test_the_wheel_has_one_of_every_kind(name: str, wheel: Path) -> None:
    assert name in files_of_wheel(wheel)
