"""Where a page's blocks are played: names, files and settings that one leaves are there for the
next, and the addresses that the page makes up are those of servers of this machine.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from configparser import ConfigParser
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from django.conf import settings
from django.contrib import admin
from django.core.checks import CheckMessage
from django.template import Context, Template
from django.test import override_settings

from llmcache.checks import check_settings
from llmcache.conf import ProviderSettings
from llmcache.upstreams import upstreams
from llmcache.upstreams.base import BaseUpstream
from llmcache.upstreams.fake import FakeUpstream
from tests.docs import commands, statements
from tests.docs.blocks import Block

OURS: Final = Path(__file__).parent / "site"
"""Modules of the site that the pages speak of, as far as they do not show them."""


class StandIn(FakeUpstream):
    """Answers in place of a provider, whose identity it has, so that keys are the real ones."""

    def __init__(self, provider: BaseUpstream) -> None:
        super().__init__(ProviderSettings(name=provider.name))
        self.identity = provider.identity  # type: ignore[method-assign]


class Stage:
    """One page's stage.

    Attributes:
        names: what the page's Python has defined so far.
        patch: of environment and objects, undone at the end.
        directory: where its files are, and the commands are run.
        places: patterns of made-up addresses, and the real ones.
    """

    def __init__(self, directory: Path, places: dict[str, str]) -> None:
        self.directory = directory
        self.places = places
        self.names: dict[str, Any] = {
            "__name__": "documented",
            "BASE_DIR": directory,
            "INSTALLED_APPS": list(settings.INSTALLED_APPS),
        }
        self.patch = pytest.MonkeyPatch()
        self._stand_ins: dict[BaseUpstream, StandIn] = {}
        self._stack = ExitStack()

    @contextmanager
    def lit(self) -> Iterator[Stage]:
        """The stage, as long as the block lasts."""
        modules = set(sys.modules)
        self.patch.chdir(self.directory)
        self.patch.setattr(sys, "path", [str(self.directory), str(OURS), *sys.path])
        self.patch.setattr(upstreams, "interceptor", self._stand_in)
        self.at_end(admin.site._registry.update, dict(admin.site._registry))
        with asyncio.Runner() as self._runner, self._stack:
            self.configure(LLMCACHE_PROVIDERS={})
            try:
                yield self
            finally:
                self.patch.undo()
                for name in set(sys.modules) - modules:
                    if name.partition(".")[0] == "shop":
                        del sys.modules[name]

    def _stand_in(self, upstream: BaseUpstream) -> BaseUpstream:
        if not upstream.is_live:
            return upstream
        if upstream not in self._stand_ins:
            self._stand_ins[upstream] = StandIn(upstream)
        return self._stand_ins[upstream]

    def lay_out(self, blocks: Iterable[Block]) -> None:
        """Write the files that a page shows, before anything of it is run."""
        for block in blocks:
            if block.file:
                self._write(block, self._translated(block))

    def _translated(self, block: Block) -> str:
        code = block.code
        for pattern, real in self.places.items():
            code = re.sub(pattern, lambda found, real=real: real, code)
        return code

    def play(self, block: Block) -> None:
        """Do what a block is for.

        Raises:
            AssertionError: it is not as the page says, or no test knows its language.
        """
        code = self._translated(block)
        match block.language:
            case "python":
                self._python(block, code)
            case "console":
                for line in code.replace("\\\n", " ").splitlines():
                    commands.run(line)
            case "json":
                self._json(block, code)
            case "html+django":
                Template(code).render(Context())
            case "ini":
                ConfigParser().read_string(code)
            case "toml":
                tomllib.loads(code)
            case _:
                raise AssertionError(f"{block.place}: no test knows {block.language}")

    def _json(self, block: Block, code: str) -> None:
        lines = code.splitlines() if block.file.endswith(".jsonl") else [code]
        for line in lines:
            json.loads(line)

    def _python(self, block: Block, code: str) -> None:
        given = settings_of(code)
        statements.run(code, self.names, self._runner, block.place, block.line)
        if given:
            self.configure(**{name: self.names[name] for name in given})
            assert problems() == [], block.place
        if re.search(r"^urlpatterns =", code, re.MULTILINE):
            urls = ModuleType("documented_urls")
            urls.__dict__["urlpatterns"] = self.names["urlpatterns"]
            self.configure(ROOT_URLCONF=urls)

    def _write(self, block: Block, code: str) -> None:
        path = self.directory / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)

    def at_end(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have something done when the page is over."""
        self._stack.callback(function, *arguments)

    def configure(self, **given: Any) -> None:
        """Put settings in force for what follows."""
        known = {name: value for name, value in given.items() if name not in _LISTS}
        self._stack.enter_context(override_settings(**known))


_LISTS: Final = frozenset({"INSTALLED_APPS", "MIDDLEWARE"})
"""Shown with an ellipsis: only that they can be written so is looked at."""


def settings_of(code: str) -> set[str]:
    """The settings that a block assigns; none, if it does anything else."""
    found: set[str] = set()
    for node in ast.parse(code).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        if not isinstance(node, (ast.Assign, ast.AugAssign)) or not names:
            return set()
        found |= {name for name in names if name.isupper()}
        if not names <= found:
            return set()
    return found


def problems() -> list[CheckMessage]:
    """What our own checks say of the settings in force, warnings left out."""
    return [message for message in check_settings() if message.is_serious()]
