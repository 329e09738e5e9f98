"""The matrix: every Python, Django and database that is supported, with every extra and with none.

    nox --list
    nox --session "tests(py3.12, dj6.0, postgres, all)" -- tests/admin

An environment is made by the Makefile, as everywhere, and shared by the cells that differ only in
their database. A cell whose Python, server or driver this machine lacks fails and says which.
"""

from __future__ import annotations

import subprocess

import nox

nox.needs_version = ">=2025.2.9"

# Django 6.0 and 6.1 run on Python 3.12 and newer.
VERSIONS = [
    *(("3.11", "5.2"),),
    *(("3.12", django) for django in ("5.2", "6.0", "6.1")),
    *(("3.13", django) for django in ("5.2", "6.0", "6.1")),
]
DATABASES = ("sqlite", "postgres", "mariadb")
EXTRAS = ("all", "none")
# They run for long and are about processes, parsers and pages, and not about a version of anything.
APART = ("soak", "faults", "fuzz", "benchmarks", "docs")


@nox.session(venv_backend="none")
@nox.parametrize("extras", [nox.param(name, id=name) for name in EXTRAS])
@nox.parametrize("database", [nox.param(name, id=name) for name in DATABASES])
@nox.parametrize(
    "version,django",
    [nox.param(*pair, id=f"py{pair[0]}, dj{pair[1]}") for pair in VERSIONS],
)
def tests(session: nox.Session, version: str, django: str, database: str, extras: str) -> None:
    """The tests on one Python, Django and database; the arguments after -- go to pytest."""
    found = subprocess.run([".ci/python", version], capture_output=True, text=True)
    if found.returncode:
        session.error(f"no Python {version} runs on this machine")
    major, minor = django.split(".")
    chosen = session.posargs or [f"--ignore=tests/{name}" for name in APART]
    if extras == "none":
        chosen = session.posargs
    session.run(
        "make",
        "test" if extras == "all" else "test-bare",
        f"PYTHON={found.stdout.strip()}",
        f"DJANGO=>={django},<{major}.{int(minor) + 1}",
        f"{'VENV' if extras == 'all' else 'BARE'}=.venv-matrix/py{version}-dj{django}-{extras}",
        f"PYTEST_ARGS={' '.join(chosen)}",
        # What a machine lacks is skipped elsewhere; here it fails, with its name. Without extras
        # the skipped tests are listed.
        env={"LLMCACHE_TEST_DATABASE": database, "CI": "true" if extras == "all" else ""},
        external=True,
    )
