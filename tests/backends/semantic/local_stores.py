"""Semantic stores on disk, and their file as another program sees it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from llmcache.backends.semantic.local import LocalSemanticBackend
from llmcache.conf import BackendSettings


def semantic(place: object, key_prefix: str = "", **options: Any) -> Any:
    return LocalSemanticBackend(
        BackendSettings(alias="l", location=str(place), key_prefix=key_prefix, options=options)
    )


def rows(place: Path, statement: str, *values: object) -> list[Any]:
    """Run a statement on the file of vectors as another program would."""
    connection = sqlite3.connect(place / "cache.db.vectors", timeout=5)
    with connection:
        found = connection.execute(statement, values).fetchall()
    connection.close()
    return found
