"""Where a test's cassette is: `cassettes/<module>/<test>.json`, beside the test's file."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from pathlib import Path
from typing import Final

DIRECTORY: Final = "cassettes"
_UNSAFE: Final = re.compile(r"[^\w.\-]+")
_LONGEST: Final = 100


def cassette_of(file: str | os.PathLike[str], test: str) -> Path:
    """The default cassette of a test.

    Args:
        file: where the test is.
        test: its name, class and parameters included.
    """
    path = Path(file)
    return path.parent / DIRECTORY / path.stem / f"{_file_name(test)}.json"


def named(file: str | os.PathLike[str], name: str | os.PathLike[str]) -> Path:
    """A cassette that a test names: relative to `cassettes/` beside the test's file."""
    return Path(file).parent / DIRECTORY / name


def _file_name(test: str) -> str:
    """The name, where every file system takes it; otherwise with a hash that tells it apart."""
    name = _UNSAFE.sub("-", test)
    if name == test and len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST].rstrip('-.')}-{sha256(test.encode()).hexdigest()[:8]}"
