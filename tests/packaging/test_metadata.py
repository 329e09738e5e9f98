"""What an index would tell of the package: pyproject.toml, and nothing made up."""

from __future__ import annotations

import tomllib
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from tests.docs.blocks import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def test_it_says_what_it_is(metadata: Message) -> None:
    assert metadata["Name"] == "django-llmcache"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    readme = (ROOT / "README.md").read_text()
    assert str(metadata.get_payload()).strip() == readme.strip()


def test_it_names_the_versions_that_are_tested(metadata: Message) -> None:
    classifiers = metadata.get_all("Classifier") or []
    for version in ("5.2", "6.0", "6.1"):
        assert f"Framework :: Django :: {version}" in classifiers
    for version in ("3.11", "3.12", "3.13"):
        assert f"Programming Language :: Python :: {version}" in classifiers


def test_every_extra_is_there(metadata: Message) -> None:
    assert set(metadata.get_all("Provides-Extra") or ()) == set(PROJECT["optional-dependencies"])


def test_without_extras_it_needs_django_httpx_and_orjson(metadata: Message) -> None:
    wanted = map(Requirement, metadata.get_all("Requires-Dist") or ())
    plain = {each.name.lower() for each in wanted if each.marker is None}
    assert plain == {"django", "httpx", "orjson"}
