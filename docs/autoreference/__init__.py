"""A Sphinx extension: parts of the pages that are made from the code when they are built.

A page asks for a part by a comment, so that its source reads well without one:

    <!-- code: checks -->
    <!-- code: options llmcache.backends.disk.DiskBackend -->

Each name is a function of PARTS, which gets the words behind it and gives Markdown. Nothing of this
is committed, so it cannot differ from the code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from docs.autoreference import (
    checks,
    commands,
    layers,
    models,
    options,
    pages,
    settings,
    stores,
)

PARTS: Final[dict[str, Callable[..., str]]] = {
    "alias-keys": settings.alias_keys,
    "checks": checks.listed,
    "command": commands.described,
    "config": settings.config,
    "layers": layers.listed,
    "link": pages.link,
    "model": models.described,
    "options": options.listed,
    "provider-keys": settings.provider_keys,
    "stores": stores.listed,
    "toctree": pages.toctree,
}
_PART: Final = re.compile(r"^<!-- code: ([\w-]+)((?:\s+(?!-->)\S+)*)\s+-->$", re.MULTILINE)


def expand(text: str) -> str:
    """A page's source with the parts that it asks for.

    Raises:
        KeyError: there is no such part.
    """
    return _PART.sub(lambda found: PARTS[found[1]](*found[2].split()), text)


def asked_for(text: str, name: str) -> Iterator[list[str]]:
    """The words of each comment that asks for parts of this name."""
    return (words.split() for part, words in _PART.findall(text) if part == name)


def _read(app: Any, docname: str, source: list[str]) -> None:
    source[0] = expand(source[0])


def _outdated(app: Any, env: Any, added: Any, changed: Any, removed: Any) -> list[str]:
    """The pages that ask for a part: Sphinx sees only changes of their own files."""
    return [name for name in env.found_docs if _PART.search(env.doc2path(name).read_text())]


def setup(app: Any) -> dict[str, Any]:
    """What Sphinx calls."""
    app.connect("source-read", _read)
    app.connect("env-get-outdated", _outdated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
