"""What the app costs a site before it is called: its import, and the memory of an entry."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable

from llmcache.backends.memory import MemoryBackend
from llmcache.conf import BackendSettings

_IMPORT = """
import resource, time
from pathlib import Path
from django.conf import settings
settings.configure(SECRET_KEY="x", INSTALLED_APPS={apps!r})
started = time.perf_counter()
import django
django.setup()
taken = time.perf_counter() - started
# Not the peak of getrusage: a child inherits its parent's.
pages = int(Path("/proc/self/statm").read_text().split()[1])
print(taken, pages * resource.getpagesize())
"""


def measure(rounds: int = 11) -> dict[str, list[float]]:
    """All of them, each with its rounds."""
    pairs = [(start(["llmcache"]), start([])) for _ in range(rounds)]
    seconds, size = ([ours[at] - bare[at] for ours, bare in pairs] for at in (0, 1))
    return {
        "import over Django alone, ms (goal: 60)": [each * 1e3 for each in seconds],
        "import over Django alone, MB (goal: 5)": [each / 2**20 for each in size],
        "memory of an entry over a dict's, ratio (goal: 1.1)": [memory_ratio()],
    }


def start(apps: list[str]) -> tuple[float, float]:
    """Seconds and bytes of Django with these apps."""
    command = [sys.executable, "-c", _IMPORT.format(apps=apps)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds, size = told.split()
    return float(seconds), float(size)


def memory_ratio(number: int = 20_000, size: int = 2048) -> float:
    """Bytes per entry of the in-memory store, over a dict of the same bytes."""
    data = [bytes([n % 251]) * size for n in range(number)]
    keys = [f"{n:064x}" for n in range(number)]

    def cost(fill: Callable[[], object]) -> tuple[int, object]:
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        kept = fill()
        used = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        return used, kept

    def ours() -> object:
        options = {"max_entries": number * 2}
        backend = MemoryBackend(BackendSettings(alias="memory", options=options))
        for key, value in zip(keys, data, strict=True):
            backend.set(str(bytes(key, "ascii"), "ascii"), bytes(bytearray(value)), 60)
        return backend

    def plain() -> object:
        return {
            str(bytes(key, "ascii"), "ascii"): bytes(bytearray(value))
            for key, value in zip(keys, data, strict=True)
        }

    return cost(ours)[0] / cost(plain)[0]
