"""OpenMP's runtime, libgomp. The wheel of llama.cpp leaves it to the system, and bare systems have
none: small container images, say. Other wheels bring it along under names of their own, and that
one is lent to the process that runs the model.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CDLL
from pathlib import Path

NAME = "libgomp.so.1"


def on_this_system() -> bool:
    """Whether the system has the library, or needs none: only Linux's wheels ask for it."""
    if sys.platform != "linux":
        return True
    try:
        CDLL(NAME)
    except OSError:
        return False
    return True


def brought_by_a_wheel() -> Path | None:
    """The library in this environment, as the packages that bundle it have it."""
    folder = Path(sysconfig.get_path("platlib"))
    return next(iter(sorted(folder.glob("*.libs/libgomp-*.so*"))), None)


@contextmanager
def lent(library: Path) -> Iterator[dict[str, str]]:
    """The environment of a process that is to find this library under its usual name."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / NAME).symlink_to(library)
        before = os.environ.get("LD_LIBRARY_PATH")
        yield {**os.environ, "LD_LIBRARY_PATH": f"{folder}:{before}" if before else folder}


@contextmanager
def environment() -> Iterator[dict[str, str]]:
    """The environment of a process that imports llama.cpp."""
    library = None if on_this_system() else brought_by_a_wheel()
    if library is None:
        yield dict(os.environ)
        return
    with lent(library) as lending:
        yield lending
