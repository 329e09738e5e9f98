"""Nothing that lies in a store is ever run: no module has the means, and a planted bomb is a
miss."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

import llmcache
from llmcache import backends

ROOT = Path(llmcache.__file__).parent
READERS = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml"}
# The first reads bytes with every name refused; the second writes what Django's cache would.
ALLOWED = {"backends/plain_pickle.py": {"Unpickler"}, "backends/django_database.py": {"dumps"}}
ALLOWED["backends/django_database.py"].add("HIGHEST_PROTOCOL")


def faults(path: Path) -> list[str]:
    """What a module has that can run what it reads."""
    name = path.relative_to(ROOT).as_posix()
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import) and name not in ALLOWED:
            found += [a.name for a in node.names if a.name.partition(".")[0] in READERS]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] if (node.module or "").partition(".")[0] in READERS else []
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            wrong = node.value.id in READERS and node.attr not in ALLOWED.get(name, set())
            found += [f"{node.value.id}.{node.attr}"] if wrong else []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found += [node.func.id] if node.func.id in ("eval", "exec") else []
    return found


def test_no_module_can_run_what_it_reads() -> None:
    modules = sorted(ROOT.rglob("*.py"))
    assert len(modules) > 100
    assert {str(path): found for path in modules if (found := faults(path))} == {}


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["redis", "disk", "memory", "locmem", "s3"])
def test_a_bomb_under_a_calls_key_is_a_counted_miss(
    name: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    counted: Callable[[str], int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    classes = {"locmem": "django.DjangoCacheBackend", "s3": "s3.S3Backend"}
    backend = classes.get(name, f"{name}.{name.title()}Backend")
    store: dict[str, Any] = {"BACKEND": f"llmcache.backends.{backend}", "KEY_PREFIX": tmp_path.name}
    if name == "redis":
        store["LOCATION"] = request.getfixturevalue("redis_server").url
    elif name == "disk":
        store["LOCATION"] = str(tmp_path / "entries")
    elif name == "s3":
        server = request.getfixturevalue("s3_server")
        store |= {"LOCATION": f"s3://{server.bucket}/{tmp_path.name}", "OPTIONS": server.options}
    mark = tmp_path / "went-off"
    asked: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    with override_settings(LLMCACHE={"default": store}):
        first = llmcache.completion(**asked)
        assert llmcache.completion(**asked).cache.hit
        backends.stores["default"].set(first.cache.key, pickle.dumps(Bomb(mark)), 60)
        again = llmcache.completion(**asked)
        assert not again.cache.hit and again.choices[0].message.content
    assert not mark.exists()
    assert counted("unreadable") == 1
    assert "cannot be used" in caplog.text
