"""A site whose provider is the scripted server, in this process and as a project of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.servers.provider import Provider

ROOT = Path(__file__).parent.parent.parent
KEY = "sk-live-0123456789abcdef"
ENTRY_POINTS = "[pytest11]\nllmcache = llmcache.testing.pytest_plugin\n"


@pytest.fixture
def site(settings: Any, provider: Provider) -> Provider:
    """The scripted provider, as the settings' own."""
    options = {"base_url": provider.base_url, "api_key": KEY, "max_retries": 0}
    settings.LLMCACHE_PROVIDERS = {"default": {"OPTIONS": options}}
    return provider


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's cassette is."""
    return tmp_path / "calls.json"


SETTINGS = f"""
import os
SECRET_KEY = "x"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "llmcache"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
LLMCACHE_CONFIG = {{"RECORDER": "off"}}
LLMCACHE_PROVIDERS = {{"default": {{"OPTIONS": {{
    "base_url": os.environ["BASE_URL"], "api_key": {KEY!r}, "max_retries": 0}}}}}}
"""


class Project:
    """A Django project in a directory, whose tests run in a process of their own."""

    def __init__(self, directory: Path, base_url: str) -> None:
        self.directory = directory
        self.environment = {
            **{name: value for name, value in os.environ.items() if "LLMCACHE" not in name},
            "PYTHONPATH": os.pathsep.join([str(directory), str(ROOT)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DJANGO_SETTINGS_MODULE": "site_settings",
            "BASE_URL": base_url,
        }
        self.write("site_settings.py", SETTINGS)
        self.write("pytest.ini", "[pytest]\nasyncio_mode = auto\naddopts = --strict-markers\n")
        if not any(point.name == "llmcache" for point in entry_points(group="pytest11")):
            # As an installed distribution has it.
            self.write("llmcache_here-0.dist-info/METADATA", "Name: llmcache-here\nVersion: 0\n")
            self.write("llmcache_here-0.dist-info/entry_points.txt", ENTRY_POINTS)

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def pytest(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the project's tests; stdout and stderr together are `stdout`."""
        options = ["-p", "no:cacheprovider", "-p", "no:randomly"]
        return self.run("-m", "pytest", *options, *arguments, **environment)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
        )

    def cassettes(self) -> list[str]:
        """The files, by their path from the project's directory."""
        found = self.directory.rglob("cassettes/**/*.json")
        return sorted(str(path.relative_to(self.directory)) for path in found)


@pytest.fixture
def project(tmp_path: Path, provider: Provider) -> Project:
    """A project whose provider is the scripted server."""
    return Project(tmp_path, provider.base_url)


def asked(text: str = "hi", **more: Any) -> dict[str, Any]:
    """The arguments of a completion."""
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}
