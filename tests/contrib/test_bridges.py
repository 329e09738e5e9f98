"""What the bridges to other packages have in common."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest
from django.core.exceptions import ImproperlyConfigured

from llmcache import packages


@pytest.mark.parametrize(
    ("bridge", "extra"),
    [
        ("langchain", "langchain"),
        ("llama_index", "llama-index"),
        ("opentelemetry", "opentelemetry"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_its_extra(
    bridge: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"llmcache.contrib.{bridge}", raising=False)
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match=rf'pip install "django-llmcache\[{extra}\]"'):
        import_module(f"llmcache.contrib.{bridge}")


def test_the_app_imports_none_of_them() -> None:
    code = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from llmcache import completion
completion(model="m", messages=[{"role": "user", "content": "hello"}])
print([name for name in ("langchain_core", "llama_index", "opentelemetry") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
