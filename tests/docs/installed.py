"""What an environment has after a page's `pip install`, and nothing else: processes of a page's
project are refused the other packages of this one, so that a line that leaves one out fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

_ALWAYS: Final = frozenset({"pip", "setuptools"})
_REFUSING: Final = """
import sys


class _Refusing:
    def find_spec(self, name, path=None, target=None):
        if name in REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, _Refusing())
"""


def brought_by(wanted: Iterable[Requirement]) -> set[str]:
    """The distributions that installing these brings, by their normalised names.

    Raises:
        AssertionError: one has not got an extra that is asked for.
    """
    found: dict[str, set[str]] = {}
    waiting = list(wanted)
    while waiting:
        each = waiting.pop()
        name = _normalised(each.name)
        new = {"", *each.extras} - found.get(name, set())
        try:
            metadata = distribution(name).metadata
        except PackageNotFoundError:
            continue  # it cannot be imported here, whoever asks for it
        assert each.extras <= set(metadata.get_all("Provides-Extra") or ()), each
        found.setdefault(name, set()).update(new)
        for line in metadata.get_all("Requires-Dist") or () if new else ():
            needed = Requirement(line)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in new):
                waiting.append(needed)
    return set(found)


def keep_to(wanted: Iterable[Requirement], directory: Path) -> None:
    """Write a `sitecustomize` that refuses what installing these would not have brought."""
    allowed = brought_by(wanted) | _ALWAYS
    refused = {
        module
        for module, owners in packages_distributions().items()
        if not allowed & {_normalised(owner) for owner in owners}
    }
    directory.mkdir(exist_ok=True)
    (directory / "sitecustomize.py").write_text(f"REFUSED = {sorted(refused)!r}\n{_REFUSING}")


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
