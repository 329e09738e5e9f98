"""Compiles the translations when the package is built, or installed to be edited.

The tree has their sources only, *.po; Django reads *.mo. Installers get both.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledTranslations(BuildHookInterface[Any]):
    """Makes a *.mo beside each *.po, and has it packed although git ignores it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        for source in sorted(Path(self.root).glob("llmcache/locale/*/LC_MESSAGES/*.po")):
            compiled = source.with_suffix(".mo")
            with source.open("rb") as file:
                catalogue = read_po(file, abort_invalid=True)
            content = BytesIO()
            write_mo(content, catalogue)
            # At once: somebody's tests may be reading the file of an editable install.
            new = compiled.with_name(f"{compiled.name}.{os.getpid()}")
            new.write_bytes(content.getvalue())
            new.replace(compiled)
            build_data["artifacts"].append(f"/{compiled.relative_to(self.root).as_posix()}")
