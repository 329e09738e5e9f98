"""The reference pages tell of every setting, option, control and check that the code has."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from llmcache import conf, controls
from llmcache.outcome import OUTCOMES
from llmcache.upstreams import anthropic, openai

ROOT = Path(__file__).parent.parent


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


@pytest.mark.parametrize("field", fields(conf.Config), ids=lambda field: field.name)
def test_every_configuration_key_is_documented_with_its_default(field: object) -> None:
    name, default = field.name.upper(), field.default  # type: ignore[attr-defined]
    shown = f'"{default}"' if isinstance(default, str) else repr(default)
    row = re.search(rf"^\| `{name}` \|.*\| `(.*)` \|$", page("settings"), re.MULTILINE)
    assert row is not None and row[1] == shown


@pytest.mark.parametrize("option", {**openai.DEFAULTS, **anthropic.ANTHROPIC_DEFAULTS})
def test_every_option_of_the_provider_is_documented(option: str) -> None:
    assert f"`{option}`" in page("settings")


@pytest.mark.parametrize("control", controls._KNOWN)
def test_every_cache_control_is_documented(control: str) -> None:
    assert f"`{control}`" in page("controls")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_is_documented(outcome: str) -> None:
    assert f"| `{outcome}` |" in page("quickstart")


def test_every_check_is_documented_and_none_besides() -> None:
    sources = (path.read_text() for path in (ROOT / "llmcache").rglob("*.py"))
    known = {check for text in sources for check in re.findall(r"llmcache\.[EW]\d{3}", text)}
    assert set(re.findall(r"llmcache\.[EW]\d{3}", page("checks"))) == known


def test_every_store_that_settings_can_name_is_documented() -> None:
    files = (ROOT / "llmcache" / "backends").glob("*.py")
    # Those of Django's caches are chosen by DjangoCacheBackend, `batched` by Cache, by themselves.
    named = [path for path in files if not re.match(r"base|batched|django_", path.stem)]
    stores = {
        f"{path.stem}.{name}"
        for path in named
        for name in re.findall(r"^class (\w+Backend)\(", path.read_text(), re.MULTILINE)
    }
    assert {store for store in stores if store not in page("stores")} == set()
