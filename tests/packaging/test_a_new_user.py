"""Somebody installs the wheel, starts a project, and does what docs/quickstart.md says."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.docs.blocks import blocks
from tests.docs.project import Project, signed_in
from tests.packaging.conftest import pip_of

WHO = {"username": "ada", "password": "a long one"}
STATIC = ("llmcache/admin.css", "llmcache/threshold.js")


def test_what_is_installed_fits_together(python: str) -> None:
    done = subprocess.run([*pip_of(python), "check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["boto3", "celery", "diskcache", "numpy", "openai", "redis"])
def test_nothing_of_the_extras_is_installed(name: str, python: str) -> None:
    done = subprocess.run([python, "-c", f"import {name}"], capture_output=True, text=True)
    assert f"No module named '{name}'" in done.stderr


def test_the_system_checks_find_nothing(site: Project) -> None:
    said = site.do("python manage.py check --fail-level WARNING")
    assert "no issues" in said


def test_the_migrations_are_complete(site: Project) -> None:
    assert "No changes" in site.do("python manage.py makemigrations --check --dry-run")


def test_the_first_call_misses_and_the_second_hits(site: Project) -> None:
    site.write(next(block for block in blocks("quickstart") if block.file == "ask.py"))
    twice = "import importlib, ask; importlib.reload(ask)"
    said = site.do(f'python manage.py shell --command "{twice}"').splitlines()
    assert [line.split()[:2] for line in said if line.endswith(" s old")] == [
        ["miss", "False"],
        ["hit", "True"],
    ]


def test_the_admin_opens_with_its_static_files(site: Project) -> None:
    site.environment["DJANGO_SUPERUSER_PASSWORD"] = WHO["password"]
    site.do("python manage.py createsuperuser --no-input --username ada --email ada@example.com")
    base = f"http://127.0.0.1:{site.port}"
    with (
        site.running("python manage.py runserver --noreload", str(site.port)),
        signed_in(base, **WHO) as browser,
    ):
        page = browser.get("/admin/llmcache/entry/")
        assert page.status_code == 200 and "Entries" in page.text
        assert browser.get("/admin/llmcache/hourlystat/").status_code == 200
        ours = set(re.findall(r'(?:href|src)="(/static/llmcache/[^"]+)"', page.text))
        assert ours
        assert {browser.get(address).status_code for address in ours} == {200}


def test_the_translations_are_there(site: Project) -> None:
    asked = (
        "from django.utils import translation as t; "
        "[(t.activate(to), print(t.gettext('Evict selected entries'))) for to in ('de', 'fr')]"
    )
    said = site.do(f'python manage.py shell --command "{asked}"').splitlines()
    assert said[-2:] == ["Ausgewählte Einträge löschen", "Évincer les entrées sélectionnées"]


def test_static_files_are_collected(site: Project) -> None:
    target = site.directory / "collected"
    with site.settings.open("a") as settings:
        settings.write(f"STATIC_ROOT = {str(target)!r}\n")
    site.do("python manage.py collectstatic --no-input")
    assert all((target / name).stat().st_size for name in STATIC)
