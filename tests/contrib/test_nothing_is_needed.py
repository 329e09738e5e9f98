"""What a site does not use costs it nothing: the ties to other packages, and at start all that
calls and system checks need.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PACKAGES = {
    "debug_toolbar": "debug-toolbar",
    "health_check": "health-check",
    "prometheus_client": "prometheus",
}
MODULES = {
    "debug_toolbar": "llmcache.contrib.debug_toolbar",
    "health_check": "llmcache.contrib.health_check",
    "prometheus_client": "llmcache.contrib.prometheus",
}
SITE = """
    import sys
    from django.conf import settings
    settings.configure(
        SECRET_KEY="x",
        INSTALLED_APPS=["llmcache"],
        TEMPLATES=[
            {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        LLMCACHE_PROVIDERS={"default": {"BACKEND": "llmcache.upstreams.fake.FakeUpstream"}},
        USE_TZ=True,
    )
    import django
    django.setup()
"""


def run(program: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(SITE) + textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_app_at_start_loads_only_its_models_and_settings() -> None:
    program = """
        ours = {name for name in sys.modules if name.startswith("llmcache.")}
        rooms = {".".join(name.split(".")[:2]) for name in ours} - {"llmcache.apps"}
        others = {"httpx", "orjson", "numpy"} & set(sys.modules)
        print(*sorted(rooms | others))
    """
    assert run(program).replace("llmcache.", "").split() == [
        *("conf", "configuration", "controls", "exceptions", "fields", "models", "querysets"),
        *("tags", "text", "transactions", "virtual_keys", "watching"),
    ]


def test_the_checks_of_the_settings_are_made_when_checks_are() -> None:
    program = """
        from django.core import checks
        from django.test import override_settings
        with override_settings(LLMCACHE_CONFIG={"MODDE": "on"}):
            print(*(message.id for message in checks.run_checks() if message.is_serious()))
    """
    assert run(program) == "llmcache.E001"


def test_a_site_loads_none_of_these_packages() -> None:
    program = f"""
        import llmcache
        from django.core import checks
        from django.template import engines
        llmcache.completion("m", [{{"role": "user", "content": "hello"}}])
        checks.run_checks()
        template = "{{% load llmcache %}}{{% llmcache_stats as stats %}}"
        engines["django"].from_string(template).render()
        loaded = {set(PACKAGES)} & {{name.partition(".")[0] for name in sys.modules}}
        ours = [name for name in sys.modules if name.startswith("llmcache.contrib")]
        print(sorted(loaded), ours)
    """
    assert run(program) == "[] []"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_missing_package_is_named_with_the_command_that_installs_it(package: str) -> None:
    program = f"""
        sys.modules[{package!r}] = None  # as if it were not installed
        from django.core.exceptions import ImproperlyConfigured
        try:
            import {MODULES[package]}
        except ImproperlyConfigured as error:
            print(error)
    """
    assert f'pip install "django-llmcache[{PACKAGES[package]}]"' in run(program)
