"""The parts of pages that are made from the code: all of it is there, and nothing besides."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final

import pytest
import yaml
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands
from django.dispatch import Signal
from django.test import override_settings
from django.utils.module_loading import import_string

import llmcache
import llmcache.testing
from docs.autoreference import asked_for, checks, commands, expand, layers, options
from llmcache import backends, conf, embedders, jobs, judges, signals, upstreams
from llmcache.backends.base import BaseBackend
from llmcache.backends.semantic import guards
from llmcache.backends.semantic.base import SemanticBackend
from llmcache.backends.semantic.guards import Guard
from llmcache.checks import check_settings
from llmcache.embedders.base import BaseEmbedder
from llmcache.judges.base import BaseJudge
from llmcache.outcome import OUTCOMES
from llmcache.upstreams.base import BaseUpstream
from tests.docs.blocks import PAGES, ROOT

BASES: Final = (BaseBackend, BaseUpstream, BaseEmbedder, BaseJudge, Guard)
NAMED: Final = re.compile(r"(Embedder|Judge|Guard|Compatible|Upstream|Anthropic|Backend)$")
NOT_NAMED: Final = re.compile(r"\.(base|batched|django_\w+)\.")
"""Bases, and the stores that `DjangoCacheBackend` and `Cache` choose by themselves."""
IDS: Final = re.compile(r"llmcache\.[EW]\d{3}")


def page(name: str) -> str:
    """A page as readers see it."""
    return expand(PAGES[name].read_text())


def named_in_settings() -> Iterator[str]:
    """The dotted path of every class that settings can name."""
    for package in (backends, upstreams, embedders, judges):
        found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        for module in (importlib.import_module(each.name) for each in found):
            for name, member in vars(module).items():
                path = f"{module.__name__}.{name}"
                is_own = inspect.isclass(member) and member.__module__ == module.__name__
                if not (is_own and issubclass(member, BASES)):
                    continue
                if NAMED.search(name) and not NOT_NAMED.search(path):
                    yield path


CLASSES: Final = sorted(named_in_settings())


@pytest.mark.parametrize("name", PAGES)
def test_every_part_that_a_page_asks_for_can_be_made(name: str) -> None:
    assert not re.search("^<!-- code:", page(name), re.MULTILINE)


# --- settings ---


def test_every_key_of_the_configuration_is_told_once() -> None:
    told = [key for keys in asked_for(PAGES["settings"].read_text(), "config") for key in keys]
    assert sorted(told) == sorted(field.name.upper() for field in fields(conf.Config))


@pytest.mark.parametrize("field", fields(conf.Config), ids=lambda field: field.name)
def test_a_key_is_told_with_its_default(field: Any) -> None:
    row = re.search(rf"^\| `{field.name.upper()}` \|.*$", page("settings"), re.MULTILINE)
    assert row is not None
    _, _, _, default, meaning, _ = re.split(r"(?<!\\)\|", row[0])
    shown = default.strip().strip("`")
    assert eval(shown) == field.default and len(meaning.split()) > 3


@pytest.mark.parametrize("part", [conf.BackendSettings, conf.ProviderSettings])
def test_what_an_alias_and_a_provider_may_have_is_told(part: Any) -> None:
    for field in fields(part)[1:]:
        assert f"| `{field.name.upper()}` |" in page("settings")


def known_options(owner: Any) -> set[str]:
    """What a class says it knows when it is given an option that it does not."""
    given = {"no-such-option": 1}
    with pytest.raises((ImproperlyConfigured, TypeError)) as caught:
        if issubclass(owner, BaseBackend):
            owner(conf.BackendSettings(alias="a", location=_location(owner), options=given))
        elif issubclass(owner, BaseUpstream):
            owner(conf.ProviderSettings(name="a", options=given))
        elif issubclass(owner, BaseEmbedder):
            owner("x", given, None)
        elif issubclass(owner, BaseJudge):
            owner("x", given)
        else:
            guards.build("x", {owner.name: given})
    said = re.search(r"Known: (.*)\.$", str(caught.value))
    return set(filter(None, said[1].split(", "))) if said else set(options.defaults(owner))


def _location(owner: type[BaseBackend]) -> str:
    return {"S3Backend": "s3://a/b", "DjangoCacheBackend": "default"}.get(owner.__name__, "")


@pytest.mark.parametrize("path", CLASSES)
def test_every_option_of_every_class_is_told_and_none_besides(path: str) -> None:
    owner = import_string(path)
    assert options.defaults(owner).keys() == known_options(owner)
    for name in options.defaults(owner):
        item = options.documented(owner)[name]
        assert item.kind and item.meaning.endswith(".")


def test_the_page_of_options_has_every_class_that_takes_any() -> None:
    told = {path for (path,) in asked_for(PAGES["options"].read_text(), "options")}
    taking = {path for path in CLASSES if options.defaults(import_string(path))}
    assert taking <= told <= set(CLASSES)


@pytest.mark.parametrize("name", sorted(SemanticBackend.defaults))
def test_matching_is_told_where_it_is_explained(name: str) -> None:
    assert f"| `{name}` |" in page("semantic")


def test_every_store_is_in_the_list_of_stores() -> None:
    stores = [path for path in CLASSES if issubclass(import_string(path), BaseBackend)]
    assert len(stores) == 8
    for path in stores:
        assert f"`{path}`" in page("stores")


# --- checks ---


def test_every_check_is_told_and_none_besides() -> None:
    sources = (path.read_text() for path in (ROOT / "llmcache").rglob("*.py"))
    known = {check for text in sources for check in IDS.findall(text)}
    told = re.findall(rf"^### `({IDS.pattern})`$", page("checks"), re.MULTILINE)
    assert told == sorted(known)
    assert checks.messages().keys() <= known


def test_a_check_is_told_with_what_it_says_and_what_to_do() -> None:
    of_exceptions = {"llmcache.E001", "llmcache.E002", "llmcache.E003", "llmcache.E009"}
    assert checks.meanings().keys() - checks.messages().keys() == of_exceptions
    for check, messages in checks.messages().items():
        for text, hint in messages:
            assert len(text.strip("… ")) > 20 and len(hint.strip("… ")) > 5, check


SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "llmcache.E004": {"LLMCACHE_CONFIG": {"SCOPE": "no.such.function"}},
    "llmcache.E006": {"LLMCACHE_CONFIG": {"TAG_MODELS": ["shop.NoSuch"]}},
    "llmcache.E008": {"LLMCACHE_CONFIG": {"ENDPOINT_CACHE": "no-such"}},
    "llmcache.W101": {
        "LLMCACHE": {"default": {"BACKEND": "llmcache.backends.memory.MemoryBackend"}}
    },
    "llmcache.W104": {
        "CACHES": {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    },
    "llmcache.W109": {"USE_TZ": False},
}


@pytest.mark.parametrize("check", SETTINGS)
def test_what_a_check_says_is_what_the_page_has(check: str) -> None:
    with override_settings(**SETTINGS[check]):
        said = [message for message in check_settings() if message.id == check]
    assert said
    for message in said:
        assert any(
            _fits(text, message.msg) and _fits(hint, str(message.hint))
            for text, hint in checks.messages()[check]
        ), message


def _fits(told: str, said: str) -> bool:
    return re.fullmatch(re.escape(told).replace("…", ".*"), said, re.DOTALL) is not None


# --- the rest ---


def test_every_command_is_told_with_every_argument() -> None:
    known = {name for name, app in get_commands().items() if app == "llmcache"}
    text = page("commands")
    assert set(re.findall(r"^### (llmcache_\w+)$", text, re.MULTILINE)) == known
    for name in known:
        own = text.split(f"### {name}\n")[1].split("\n### ")[0]
        missing = {word for word in commands.arguments(name) if f"`{word}`" not in own}
        assert missing == set()


def test_every_argument_of_a_command_has_a_help_text() -> None:
    assert re.findall(r"^\| `.*\|\s*\|$", page("commands"), re.MULTILINE) == []


def test_every_public_name_is_told_and_can_be_imported() -> None:
    told = re.findall(
        r"^\.\. (?:auto\w+|py:data):: ([\w.]+)$", PAGES["api"].read_text(), re.MULTILINE
    )
    public = {f"llmcache.{name}" for name in (*llmcache.__all__, "cache", "callbacks")}
    assert public <= set(told)
    for path in told:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)
    assert "llmcache.testing" in told  # with all its members
    for name in llmcache.testing.__all__:
        assert getattr(llmcache.testing, name).__doc__


def test_every_signal_is_told() -> None:
    known = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    told = re.findall(r"autodata:: llmcache\.signals\.(\w+)", PAGES["signals"].read_text())
    assert set(told) == known


def test_every_model_is_told_with_every_field() -> None:
    told = {name for (name,) in asked_for(PAGES["models"].read_text(), "model")}
    known = {model.__name__: model for model in apps.get_app_config("llmcache").get_models()}
    assert told == known.keys()
    for model in known.values():
        for field in model._meta.concrete_fields:
            assert f"| `{field.name}` |" in page("models")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_is_told(outcome: str) -> None:
    assert f"| `{outcome}` |" in page("completion")


@pytest.mark.parametrize("job", jobs.JOBS)
def test_every_task_is_told(job: str) -> None:
    assert f"`{job}`" in page("tasks")


def test_every_layer_is_told_with_what_it_is() -> None:
    text = page("architecture")
    for number, layer in enumerate(layers.layers(), 1):
        for module in layer:
            name = module.removeprefix("llmcache.")
            assert re.search(rf"^\| {number} \| `{name}` \| .{{10,}} \|$", text, re.MULTILINE)


def test_the_links_of_the_readme_lead_somewhere() -> None:
    for address in re.findall(r"\]\(((?!http)[^)]+)\)", PAGES["README"].read_text()):
        assert (ROOT / address).exists(), address


def test_read_the_docs_builds_with_warnings_as_errors() -> None:
    wanted = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text())
    assert wanted["version"] == 2
    assert (ROOT / wanted["sphinx"]["configuration"]).is_file()
    assert wanted["sphinx"]["fail_on_warning"] is True
    assert "--group docs" in wanted["build"]["jobs"]["install"][-1]
