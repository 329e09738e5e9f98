"""The layers of the package, as import-linter holds them."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any, Final

from docs.autoreference.markdown import code, table

_ROOT: Final = Path(__file__).parents[2]


def listed() -> str:
    """A row for each module of each layer, the highest first, with what its docstring says."""
    rows = [
        (str(number), code(module.removeprefix("llmcache.")), _says(module))
        for number, layer in enumerate(layers(), 1)
        for module in layer
    ]
    return table(("layer", "module", "what it is"), rows)


def layers() -> list[list[str]]:
    """The modules of each layer, the highest first."""
    settings = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    contracts: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    (found,) = (each["layers"] for each in contracts if each["type"] == "layers")
    return [[module.strip() for module in layer.split("|")] for layer in found]


def _says(module: str) -> str:
    path = _ROOT.joinpath(*module.split("."))
    source = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    text = ast.get_docstring(ast.parse(source.read_text())) or ""
    return " ".join(text.partition("\n\n")[0].split())
